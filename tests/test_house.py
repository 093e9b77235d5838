"""The house is in order: no circle of files, and functions that can be read."""

import ast
from pathlib import Path

import splat_uff

PACKAGE = Path(splat_uff.__file__).parent
MOST_PARAMETERS, MOST_LINES = 7, 60


def modules():
    """Every file of the package by its dotted name."""
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports_of(path, known):
    """The files of the package that a file imports, also inside functions and for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from {alias.name for alias in node.names} & known.keys()
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def functions():
    """Every function of the package, as where it stands, its node and whether it is a kernel."""
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                place = path.relative_to(PACKAGE)
                kernel = any("njit" in ast.unparse(each) for each in node.decorator_list)
                yield place, node, kernel


def test_no_files_import_each_other_in_a_circle():
    known = dict(modules())
    imports = {
        name: {each for each in imports_of(path, known) if each != name}
        for name, path in known.items()
    }
    imports.pop("splat_uff")  # The face, which imports what is asked for, and only then.
    while imports:  # Files that import nothing that is left go, until none is left.
        free = {name for name, wanted in imports.items() if not wanted & imports.keys()}
        assert free, f"these import each other: {sorted(imports)}"
        imports = {name: wanted for name, wanted in imports.items() if name not in free}


def test_functions_take_few_parameters():
    wide = []
    for place, node, kernel in functions():
        if kernel or place.parts[0] in ("render", "commands"):
            continue
        names = [each.arg for each in (*node.args.posonlyargs, *node.args.args)]
        own = names[:1] in (["self"], ["cls"], ["ctx"])
        count = len(names) - own + len(node.args.kwonlyargs)
        if count > MOST_PARAMETERS:
            wide.append(f"{place}:{node.lineno} {node.name} takes {count}")
    assert not wide


def test_functions_are_short():
    """Kernels apart; of `rasterization`, whose parameters are gsplat's, the docstring is."""
    long = []
    for place, node, kernel in functions():
        lines = node.end_lineno - node.lineno + 1
        if node.name == "rasterization":
            lines -= len(ast.get_docstring(node, clean=False).splitlines())
        if lines > MOST_LINES and not kernel:
            long.append(f"{place}:{node.lineno} {node.name} has {lines} lines")
    assert not long
