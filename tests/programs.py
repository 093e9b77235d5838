"""Programs of others that read and write splats, from npm; tests with them are skipped without."""

import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parent / "node" / "node_modules"
"""Where `make node` puts the packages of tests/node/package.json."""


def require_node(package: str) -> Path:
    """Folder of an npm package; skips the test if it, or node itself, is missing."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    folder = MODULES / package
    if not folder.is_dir():
        pytest.skip(f"the npm package {package} is not installed; run make node")
    return folder


def run_node(script: Path, *arguments: object, timeout: float = 120) -> str:
    """Run a script with node and return what it prints; its errors fail the test."""
    done = subprocess.run(
        ["node", str(script), *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def splat_transform(*arguments: object) -> str:
    """Run PlayCanvas' splat-transform on the CPU, overwriting its output."""
    program = require_node("@playcanvas/splat-transform") / "bin" / "cli.mjs"
    return run_node(program, "-w", "-g", "cpu", *arguments)
