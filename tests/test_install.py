"""Ways to install: the Makefile's switch, the versions that are tested, and the page about both."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from splat_uff.cli import main

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CPU_INDEX = "--index-url https://download.pytorch.org/whl/cpu"


def versions():
    """Versions of Python that the package takes, as `["3.10", ...]`."""
    first, end = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    return [f"3.{minor}" for minor in range(int(first), int(end))]


def planned(folder, *words):
    """Commands that make would run for the drum kit where nothing is installed."""
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    for name in ("Makefile", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    command = ["make", "--dry-run", "--no-print-directory", "drums", *words]
    # The tests may themselves be run by make, whose flags would reach this one.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        command, cwd=folder, env=alone, capture_output=True, encoding="utf-8", check=True
    )
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip()]


def test_make_installs_what_pip_gives_by_default(tmp_path):
    assert planned(tmp_path) == [
        "python3 -m venv .venv",
        ".venv/bin/python -m pip install --quiet --editable .",
        "touch .venv/installed",
        ".venv/bin/splat-uff train --scene drums --resume",
    ]


@pytest.mark.parametrize("build", ["cpu", "cu128"])
def test_make_takes_torch_from_the_index_of_a_build_before_all_else(tmp_path, build):
    plain, chosen = planned(tmp_path), planned(tmp_path, f"TORCH={build}")
    index = f"--index-url https://download.pytorch.org/whl/{build}"
    wanted = f".venv/bin/python -m pip install --quiet torch torchvision {index}"
    assert chosen == [plain[0], wanted, *plain[1:]]


def test_every_version_of_python_has_its_classifier():
    prefix = "Programming Language :: Python :: "
    named = [each.removeprefix(prefix) for each in PROJECT["classifiers"] if prefix in each]
    assert named == ["3", *versions()]


@pytest.fixture(scope="module")
def jobs():
    yaml = pytest.importorskip("yaml", reason='pip install "splat-uff[docs]"')
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]


def steps_of(job):
    return [step["run"] for step in job["steps"] if "run" in step]


def test_workflow_runs_every_version_on_every_system(jobs):
    matrix = jobs["everywhere"]["strategy"]["matrix"]
    assert matrix["python"] == versions()
    assert [each.partition("-")[0] for each in matrix["os"]] == ["ubuntu", "macos", "windows"]
    (python,) = (
        step["with"]["python-version"]
        for step in jobs["everything"]["steps"]
        if "python-version" in step.get("with", {})
    )
    assert python in versions()


def test_workflow_runs_commands_that_exist(jobs, capsys):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    extras = PROJECT["optional-dependencies"]
    for line in (line for job in jobs.values() for line in steps_of(job)):
        words = line.split()
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        elif words[:4] == ["python", "-m", "pip", "install"]:
            assert set(re.findall(r"\[(\w+)\]", line)) <= extras.keys(), line
        elif words[:3] == ["python", "-m", "pytest"]:
            paths = [word for word in words if word.startswith("tests")]
            assert paths
            assert all((ROOT / path).exists() for path in paths), line
        else:
            assert words[0] == "splat-uff", line
            if words[1] == "--version":
                continue
            with pytest.raises(SystemExit):
                main([words[1], "--help"])
            known = capsys.readouterr().out
            assert all(word in known for word in words if word.startswith("--")), line


def test_workflow_takes_torch_without_cuda(jobs):
    (step,) = (line for line in steps_of(jobs["everywhere"]) if "torch" in line)
    assert step.endswith(CPU_INDEX)
    assert "TORCH=cpu" in steps_of(jobs["everything"])[0]


def test_pages_say_what_the_package_takes():
    first, last = versions()[0], versions()[-1]
    for page in (PAGE, README):
        assert f"Python {first} to {last}" in page
        assert "make drums TORCH=cpu" in page
    assert f"install torch torchvision {CPU_INDEX}" in PAGE
    extras = set(re.findall(r'pip install "?\.\[(\w+)\]', PAGE))
    assert extras <= PROJECT["optional-dependencies"].keys()


def test_page_names_packages_that_are_needed_where_wheels_lack():
    (missing,) = re.findall(r"^\| Linux, ARM \| (.*) \|$", PAGE, re.MULTILINE)
    needed = {re.split(r"[<>=;\[ ]", each)[0] for each in PROJECT["dependencies"]}
    assert set(missing.split(", ")) <= needed
