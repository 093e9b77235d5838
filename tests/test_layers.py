"""Rooms import only from rooms to their left (DESIGN.md)."""

import ast
from pathlib import Path

import splat_uff

PACKAGE = Path(splat_uff.__file__).parent
ORDER = (
    *(
        "system",
        "geometry",
        "formats",
        "capture",
        "masks",
        "render",
        "gaussians",
        "virtual",
        "features",
        "hierarchy",
    ),
    *("evaluate", "baselines", "settings", "run", "report", "training", "export", "paper"),
    *("scenes", "batch", "view", "bench", "commands", "cli", "__main__"),
)
"""Each imports from those before it; `settings` and `bench` are files, the rest but `cli` rooms."""
FRAMEWORKS = {"nerfstudio", "lightning", "hydra"}


def imported_modules(path):
    """Every module that a file imports, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_rooms_import_only_from_their_left():
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        assert room in ORDER, f"say in ORDER where {room} stands"
        for name in imported_modules(path):
            assert name.partition(".")[0] not in FRAMEWORKS
            parts = name.split(".")
            if parts[0] == "splat_uff" and len(parts) > 1 and parts[1] in ORDER:
                right = ORDER.index(parts[1]) > ORDER.index(room)
                assert not right, f"{path.relative_to(PACKAGE)} imports {name}, which is later"
