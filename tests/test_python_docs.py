"""`docs/python.md` is true of any finished run, and importing the package costs nothing."""

import ast
import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import splat_uff

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
LEAST_EXAMPLES = 30


class FencedParser(doctest.DocTestParser):
    """Takes the fence that closes a block of code for an empty line, not for output."""

    def parse(self, string, name="<string>"):
        return super().parse(re.sub(r"^```.*$", "", string, flags=re.MULTILINE), name)


def test_the_examples_of_the_page_are_true(trained, tmp_path, monkeypatch):
    shutil.copytree(trained, tmp_path / "runs" / "toy")
    monkeypatch.chdir(tmp_path)
    failed, tried = doctest.testfile(str(PAGE), module_relative=False, parser=FencedParser())
    assert failed == 0
    assert tried >= LEAST_EXAMPLES


def test_names_of_the_package_are_those_of_its_modules():
    for name in splat_uff.__all__:
        assert getattr(splat_uff, name).__doc__
    assert set(splat_uff.__all__) == {*dir(splat_uff), "__version__"}
    assert splat_uff.open_run is sys.modules["splat_uff.run.open"].open_run
    with pytest.raises(AttributeError, match="open_ran"):
        _ = splat_uff.open_ran
    with pytest.raises(ImportError, match="open_ran"):
        exec("from splat_uff import open_ran")


def test_the_stub_says_the_same_to_type_checkers():
    stub = Path(splat_uff.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    listed = re.search(r"^__all__ = (\[.*?\])", stub, flags=re.MULTILINE | re.DOTALL)
    assert sorted(ast.literal_eval(listed[1])) == sorted(splat_uff.__all__)
    assert Path(splat_uff.__file__).with_name("py.typed").is_file()


def test_all_that_the_docs_import_is_public():
    root = PAGE.parents[1]
    pages = [root / "README.md", *(root / "docs").rglob("*.md"), *(root / "examples").glob("*.py")]
    found = [
        (module, name.strip())
        for page in pages
        for module, names in re.findall(
            r"^(?:>>> )?from (splat_uff[\w.]*) import ([\w, ]+)",
            page.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
        for name in names.split(",")
    ]
    assert len(found) >= 8
    assert {module for module, _ in found} == {"splat_uff"}
    assert {name for _, name in found} <= set(splat_uff.__all__)


def test_importing_the_package_imports_nothing_heavy():
    said = subprocess.run(
        [sys.executable, "-c", "import splat_uff, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(said.stdout.split())
    assert "splat_uff" in loaded
    assert not loaded & {"torch", "numpy", "numba", "splat_uff.run.open"}
