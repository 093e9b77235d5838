"""Descriptions say what a thing is: none begins in the middle of a sentence."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "splat_uff"
FRAGMENT = re.compile(r"(Of|Whose|Where|From|By|That|How)\b")
"""First words of a description that only continues the name before it: "path: Of the photo."."""
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def descriptions(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring's first line, entry of `Args`, and attribute docstring."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, DOCUMENTED):
            continue
        doc = ast.get_docstring(node)
        line = node.body[0].lineno
        if doc:
            yield line, doc
            entries = re.search(r"^Args:\n((?:    .*\n|\n)*)", doc + "\n", re.MULTILINE)
            for entry in re.findall(r"^    \w+: *(.*)$", entries[1] if entries else "", re.M):
                yield line, entry
        for each in node.body[1 if doc else 0 :]:
            value = each.value if isinstance(each, ast.Expr) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield each.lineno, value.value.strip()


def fragments(source: str) -> list[tuple[int, str]]:
    """Descriptions that begin as the rest of a sentence."""
    return [(line, text) for line, text in descriptions(source) if FRAGMENT.match(text)]


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_descriptions_are_no_fragments(path):
    found = fragments(path.read_text(encoding="utf-8"))
    assert not found, "\n".join(
        f"{path}:{line}: {text.splitlines()[0]!r} begins as the rest of a sentence; say what it is"
        for line, text in found
    )


def test_fragments_finds_each_kind():
    source = (
        '"""How it works."""\nSIZE = 1\n"""Of the photo."""\n\n\ndef read(path, size):\n'
        '    """By hand.\n\n    Args:\n        path: Where the photo is.\n'
        '        size: Fromage, in pixels.\n    """\n'
    )
    assert [text.split()[0] for _, text in fragments(source)] == ["How", "Of", "By", "Where"]
