"""Description of the machine on which figures are measured."""

import os
import platform
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from splat_uff.system.errors import InputError, argument
from splat_uff.system.portable import cpu_name, output_of
from splat_uff.system.progress import notice


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


def choose_render_device(device: str) -> str:
    """Resolve the device of a training, for which CUDA needs gsplat's kernels, too.

    Raises:
        InputError: If `cuda` is requested, but torch finds no device or gsplat has no kernels.
    """
    chosen = choose_device(device)
    if chosen != "cuda" or not (trouble := _trouble_of_gsplat()):
        return chosen
    if device == "cuda":
        raise InputError(f"{argument('device', 'cuda')}, but {trouble} (docs/gpu.md).")
    _notice_once(f"{trouble}; the CPU computes (docs/gpu.md).")
    return "cpu"


@lru_cache(maxsize=1)
def _trouble_of_gsplat() -> str:
    """Say what keeps gsplat's kernels from running; the first call may compile them.

    The result is empty if they run.
    """
    import torch
    from gsplat import quat_scale_to_covar_preci

    try:
        quats, scales = (torch.ones(1, count, device="cuda") for count in (4, 3))
        quat_scale_to_covar_preci(quats, scales)
        torch.cuda.synchronize()
    except Exception as error:  # Compilers, drivers and torch each raise their own.
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return f"gsplat's CUDA kernels do not run: {reason}"
    return ""


@lru_cache(maxsize=1)
def _notice_once(text: str) -> None:
    notice(text)


def describe_device(device: str) -> dict[str, str]:
    """Name of the device that computes, and the versions that matter on it.

    Args:
        device: `cpu` or `cuda`.
    """
    import gsplat
    import torch

    versions = {"torch": torch.__version__, "gsplat": gsplat.__version__}
    if not device.startswith("cuda"):
        return {"kind": "cpu", "name": str(describe_machine()["cpu"]), **versions}
    driver = output_of("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    driver = driver.partition("\n")[0].strip()
    name = torch.cuda.get_device_name(0)
    return {"kind": "cuda", "name": name, "driver": driver, "cuda": str(torch.version.cuda)} | (
        versions
    )


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
