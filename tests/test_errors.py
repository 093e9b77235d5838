"""Messages name flags in a terminal and keywords in Python, whoever raises them."""

import ast
import re
import threading
from pathlib import Path

import pytest

import splat_uff
from splat_uff.capture import read_capture
from splat_uff.cli import main
from splat_uff.masks.gather import gather_masks
from splat_uff.run.begin import claim_folder, start_run
from splat_uff.run.provenance import Provenance
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import (
    LONGEST_REASON,
    InputError,
    argument,
    on_command_line,
    reason_of,
    worded,
)
from tests.capture.test_blender import write_split

PACKAGE = Path(splat_uff.__file__).parent
FLAG = re.compile(r"(?<!var\()(?<![\w-])--[a-z][\w-]*(?![\w:-])")
COMMAND = re.compile(r"splat-uff [a-z]+ --[a-z-]+")
"""A whole command line reads right anywhere."""
OTHERS = {
    "--blocks",
    "--format",
    "--head",
    "--max-size",
    "--query-gpu",
    "--save_ply",
    "--short",
    "--up",
}
"""Flags of git, gsplat, nvidia-smi and ray, and second names of ours where they are declared."""


def strings(node, inside=False):
    """Text outside of docstrings, and of what is worded for both readers, below a node."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        inside = inside or node.func.id in ("argument", "worded")
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and not inside:
        yield node.lineno, node.value
    for child in ast.iter_child_nodes(node):
        yield from strings(child, inside)


def test_no_text_of_the_library_names_a_flag():
    files = [path for path in PACKAGE.rglob("*.py") if path.name not in ("cli.py", "__main__.py")]
    files = [path for path in files if path.parent.name != "commands"]
    assert len(files) > 100
    found = [
        f"{path.relative_to(PACKAGE)}:{line}: {text}"
        for path in files
        for line, text in strings(ast.parse(path.read_text(encoding="utf-8")))
        if set(FLAG.findall(COMMAND.sub("", text))) - OTHERS
    ]
    assert found == []


@pytest.mark.parametrize(
    ("given", "library", "command"),
    [
        (("output",), "output", "--output"),
        (("checkpoint_seconds",), "checkpoint_seconds", "--checkpoint-seconds"),
        (("overwrite", True), "overwrite=True", "--overwrite"),
        (("port", 80), "port=80", "--port 80"),
        (("port", 1), "port=1", "--port 1"),
        (("masks", "classical"), 'masks="classical"', "--masks classical"),
        (("masks", "DIR"), "masks=DIR", "--masks DIR"),
    ],
)
def test_argument_is_what_its_reader_passes(given, library, command):
    assert argument(*given) == library
    with on_command_line():
        assert argument(*given) == command
    assert argument(*given) == library


def test_argument_takes_a_flag_of_another_name():
    assert argument("splats", flag="--gaussians") == "splats"
    with on_command_line():
        assert argument("splats", flag="--gaussians") == "--gaussians"
        assert worded("a", command="b") == "b"


def test_on_command_line_holds_on_other_threads_and_within_itself():
    said = []
    with on_command_line():
        with on_command_line():
            pass
        thread = threading.Thread(target=lambda: said.append(argument("output")))
        thread.start()
        thread.join()
    assert said == ["--output"]


def test_a_run_that_was_cut_off_is_worded_for_both_readers(tmp_path, capsys):
    folder, begin = tmp_path / "run", {"resume": False, "overwrite": False}
    made_from = Provenance("toy", str(tmp_path), "simulated", "0", TrainConfig())
    with start_run(claim_folder(folder, **begin), made_from, **begin):
        pass
    with pytest.raises(InputError) as caught:
        claim_folder(folder, **begin)
    ending = "pass resume=True to go on, or overwrite=True to begin again."
    assert str(caught.value).endswith(ending)
    with pytest.raises(SystemExit):
        main(["train", "--data", str(tmp_path), "--output", str(folder)])
    said = capsys.readouterr().err
    assert said.endswith("; pass --resume to go on, or --overwrite to begin again.\n")
    assert argument("output") == "output"  # Also after a command that failed.


def test_missing_masks_name_all_three_ways_out(tmp_path, capsys):
    write_split(tmp_path, "train")
    with pytest.raises(InputError) as caught:
        gather_masks(read_capture(tmp_path), "")
    for way in ("masks=DIR", "make_masks=FUNCTION", 'masks="classical"'):
        assert way in str(caught.value)
    with pytest.raises(SystemExit):
        main(["train", "--data", str(tmp_path), "--output", str(tmp_path / "run")])
    said = capsys.readouterr().err
    for way in ("--masks DIR", "--sam-checkpoint FILE", "--masks classical"):
        assert way in said


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (FileNotFoundError(2, "No such file or directory", "a/b"), "No such file or directory"),
        (OSError("no number"), "no number"),
        (EOFError(), "EOFError"),
        (ValueError("x" * 999), "x" * LONGEST_REASON),
        (ValueError("not this " * 99), "not this " * 12 + "not ..."),
        (ValueError("not 1.5 of them. See https://example.org. Or ask."), "not 1.5 of them"),
    ],
)
def test_reason_of_is_a_few_words(error, reason):
    assert reason_of(error) == reason
