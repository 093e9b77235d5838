"""Kernels just compiled and the same ones from the cache give the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = """
import hashlib
from splat_uff.gaussians import initial
from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.gaussians.fit import fit_gaussians
from tests.gaussians.scenes import ball_capture

initial.GRID = 32
capture = ball_capture(views=4, size=32)
found = fit_gaussians(capture, GaussiansConfig(steps=3, start=500, most=500), seed=0)
# Gaussians start round, so that only rounding turns them, and Adam makes whole steps of it.
print(hashlib.sha256(found.quats.numpy().tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_kernels_give_the_same_bits_just_compiled_and_from_the_cache(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    options = {"check": True, "capture_output": True, "text": True, "env": environment}
    command = [sys.executable, "-c", SCRIPT]
    first, second = (subprocess.run(command, cwd=ROOT, **options).stdout for _ in range(2))
    assert list(tmp_path.rglob("*.nbc")), "the kernels were kept"
    assert first == second
