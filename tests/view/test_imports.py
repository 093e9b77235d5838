"""Which file of `view/` imports which."""

from graphlib import TopologicalSorter

from tests.test_layers import PACKAGE, imported_modules


def imports_within(room):
    """Every module of a room, with those of its modules that it imports, for type checkers too."""
    files = {}
    for path in (PACKAGE / room).rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        files[".".join(parts).removesuffix(".__init__")] = set(imported_modules(path))
    return {name: imported & set(files) for name, imported in files.items()}


def test_no_file_of_the_view_is_imported_in_a_circle():
    order = list(TopologicalSorter(imports_within("view")).static_order())
    assert order.index("splat_uff.view.state") < order.index("splat_uff.view.panels.segments")
    assert order.index("splat_uff.view.panels.segments") < order.index("splat_uff.view.run_page")


def test_the_state_needs_no_server():
    within, waiting, reached = imports_within("view"), ["splat_uff.view.state"], set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        waiting += within[name] - reached
    assert "splat_uff.view.selection" in reached
    for name in reached:
        path = PACKAGE.parent / (name.replace(".", "/") + ".py")
        roots = {imported.partition(".")[0] for imported in imported_modules(path)}
        assert "viser" not in roots, f"{path} imports viser"
