"""`docs/library.md` is true of any finished run, and importing the package costs nothing."""

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import splat_uff

PAGE = Path(__file__).parents[1] / "docs" / "library.md"
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
        assert getattr(splat_uff, name) is not None
    assert set(splat_uff.__all__) <= set(dir(splat_uff))
    assert splat_uff.open_run is sys.modules["splat_uff.run.open"].open_run
    with pytest.raises(AttributeError, match="no attribute 'open_ran'"):
        _ = splat_uff.open_ran
    with pytest.raises(ImportError, match="open_ran"):
        exec("from splat_uff import open_ran")


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
