"""Description of the machine on which figures are measured."""

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from splat_uff.system.errors import InputError, argument


def describe_machine() -> dict[str, str | int]:
    """Describe this machine well enough to tell it from others."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    vectors = ""
    if info.exists():
        lines = [line.partition(":") for line in info.read_text().splitlines()]
        known = {name.strip(): value.strip() for name, _, value in reversed(lines)}
        cpu = known.get("model name", cpu)
        flags = known.get("flags", "").split()
        vectors = next((name for name in ("avx512f", "avx2") if name in flags), "")
    return {
        "cpu": cpu,
        "vectors": vectors,
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
    }


def choose_device(device: str) -> str:
    """Resolve `auto` by asking torch, not by looking for nvcc, which may exist without a GPU.

    Raises:
        InputError: If `cuda` is requested but not available.
    """
    import torch  # This takes seconds.

    if device == "cuda" and not torch.cuda.is_available():
        raise InputError(
            f"{argument('device', 'cuda')}, but torch finds no CUDA device; use "
            f"{argument('device', 'cpu')}."
        )
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device


def peak_memory() -> float | None:
    """Peak memory of this process in gigabytes; None if the system does not report it."""
    try:
        import resource
    except ImportError:  # Windows.
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9


def commit() -> str:
    """Commit of the checkout that this code runs from; empty outside a checkout."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    place = Path(__file__).parent
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=place)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def measured_here() -> dict[str, Any]:
    """Date, machine and commit to record beside figures measured now."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "commit": commit(),
    }
