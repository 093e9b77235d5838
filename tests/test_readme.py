"""The README and the docs stay true: figures come from measured files, commands exist."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def load_tool(path=ROOT / "tools" / "update_readme.py"):
    """A script as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_show_what_the_measured_files_hold():
    tool = load_tool()
    for page in tool.PAGES:
        text = page.read_text(encoding="utf-8")
        assert tool.fill(text, tool.parts()) == text, f"run tools/update_readme.py for {page.name}"


def commands():
    """Every `splat-uff ...` line of the README's code blocks, without its comment."""
    blocks = re.findall(r"```\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition("#")[0].split() for block in blocks for line in block.splitlines()]
    return [words[1:] for words in lines if words[:1] == ["splat-uff"]]


def help_of(command):
    done = subprocess.run(
        [sys.executable, "-m", "splat_uff", command, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_readme_commands_and_flags_exist(words):
    known = set(re.findall(r"(?<![\w-])--[\w.-]+", help_of(words[0])))
    named = {word.partition("=")[0] for word in words[1:] if word.startswith("--")}
    assert named <= known


def test_readme_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"^make (\w+)", README, flags=re.MULTILINE))
    assert named == {"drums", "test"}
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in named)


def test_readme_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r"`(docs/[^`]+)`", README):
        assert (ROOT / target).exists(), target
