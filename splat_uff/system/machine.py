"""Description of the machine on which figures are measured."""

import os
import platform
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from splat_uff.system.errors import InputError, argument
from splat_uff.system.progress import notice


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
        quats, scales = (torch.ones(1, width, device="cuda") for width in (4, 3))
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
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        driver = done.stdout.partition("\n")[0].strip()
    except FileNotFoundError:
        driver = ""
    name = torch.cuda.get_device_name(0)
    return {"kind": "cuda", "name": name, "driver": driver, "cuda": str(torch.version.cuda)} | (
        versions
    )


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
