"""Description of the machine on which figures are measured."""

import os
import platform
import time
from pathlib import Path
from typing import Any

from splat_uff.system.errors import InputError, argument
from splat_uff.system.portable import cpu_name, output_of


def describe_machine() -> dict[str, str | int]:
    """Describe this machine well enough to tell it from others."""
    cpu, features = cpu_name()
    vectors = next((name for name in ("avx512f", "avx2") if name in features), "")
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


def commit() -> str:
    """Commit of the checkout that this code runs from; empty outside a checkout."""
    return output_of("git", "rev-parse", "--short", "HEAD", folder=Path(__file__).parent)


def measured_here() -> dict[str, Any]:
    """Date, machine and commit to record beside figures measured now."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "commit": commit(),
    }
