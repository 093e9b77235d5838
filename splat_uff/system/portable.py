"""Everything that differs between Linux, macOS and Windows, in one place.

No other module calls what one of them lacks (`tests/test_portable.py`). Each function here does
without it where it is missing.
"""

import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None
try:
    import resource
except ImportError:  # Windows.
    resource = None

Made = TypeVar("Made")

NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
"""Flag of `os.open` that refuses links; Windows lacks it, and lets few people make links."""
LOCKED_BYTE = 1 << 30
"""Offset of the byte that is locked on Windows, far behind what the file says: nobody can read a
locked byte there."""
BUSY_SECONDS = 2.0
"""Time in seconds for which a file that is in use is tried again on Windows."""
DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10)))
)
"""Names, in lower case, that Windows keeps for devices, with any ending."""
_CPU_INFO = Path("/proc/cpuinfo")


def is_windows() -> bool:
    """Whether this is Windows."""
    return sys.platform == "win32"


def try_to_lock(descriptor: int) -> None:
    """Lock an open file for this process, or fail at once.

    Raises:
        BlockingIOError, PermissionError: If another holder has locked it.
        OSError: If the file system has no locks.
    """
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    import msvcrt

    os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]


def is_file_of(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at a path; Windows lets nobody remove an open file.

    Raises:
        FileNotFoundError: If nothing is at the path.
    """
    return is_windows() or os.path.samestat(os.fstat(descriptor), path.stat())


def close_and_remove(descriptor: int, path: Path) -> None:
    """Close a file and remove it, unless the path now leads to a file of another process."""
    if is_windows():  # Only a closed file can be removed, and none that another has opened.
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()
        return
    with suppress(OSError):
        if is_file_of(descriptor, path):
            path.unlink()
    os.close(descriptor)


def patiently(change: Callable[[], Made]) -> Made:
    """Rename, replace or remove a file; on Windows, wait for programs that have it open.

    Virus scanners and search indexes open new files for a moment, and nothing there can replace
    an open file.

    Raises:
        OSError: If it cannot be done; on Windows, after `BUSY_SECONDS`.
    """
    end = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return change()
        except PermissionError:
            if not is_windows() or time.monotonic() > end:
                raise
        time.sleep(0.02)


def require_free(tried: socket.socket) -> None:
    """Let binding a socket fail if, and only if, another program listens on its port.

    On Windows, the option that lets a port be used again at once would share a port in use.
    """
    exclusive = getattr(socket, "SO_EXCLUSIVEADDRUSE", None)
    option = getattr(socket, "SO_REUSEADDR", exclusive) if exclusive is None else exclusive
    if option is not None:
        tried.setsockopt(socket.SOL_SOCKET, option, 1)


def cpu_name() -> tuple[str, tuple[str, ...]]:
    """Name of the processor, and the names of its features, as far as the system tells."""
    name = platform.processor() or platform.machine()
    if _CPU_INFO.exists():
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
        lines = [line.partition(":") for line in text.splitlines()]
        known = {key.strip(): value.strip() for key, _, value in reversed(lines)}
        return known.get("model name", name), tuple(known.get("flags", "").split())
    if sys.platform == "darwin":
        return output_of("sysctl", "-n", "machdep.cpu.brand_string") or name, ()
    return name, ()


def peak_memory() -> float | None:
    """Peak memory of this process in gigabytes; None where the system does not tell."""
    if resource is None:
        return None
    return _gigabytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def run_measured(command: Sequence[str]) -> tuple[int, float | None]:
    """Run a program to its end.

    Returns:
        Its exit status, 0 if all went well, and its peak memory in gigabytes, None where the
        system does not tell.
    """
    if not hasattr(os, "wait4"):  # Windows.
        return subprocess.run(command, check=False).returncode, None
    process = os.posix_spawn(command[0], list(command), os.environ)
    _, status, usage = os.wait4(process, 0)
    return status, _gigabytes(usage.ru_maxrss)


def usable_cores() -> int:
    """Cores that this process may use, which a scheduler such as Slurm may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_of_machine() -> float:
    """Memory of this machine in gigabytes; infinite where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (ValueError, OSError, AttributeError):
        return float("inf")


def has_gpu() -> bool:
    """Whether there seems to be an NVIDIA GPU; asking torch would take seconds and memory."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1"):
        return False
    return Path("/dev/nvidia0").exists() or (is_windows() and bool(shutil.which("nvidia-smi")))


def start_apart(command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a process that a Ctrl-C in the terminal does not reach.

    Args:
        command: Program and its arguments.
        options: Other options of `subprocess.Popen`.
    """
    if is_windows():
        flags = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
        return subprocess.Popen(command, creationflags=flags, **options)
    return subprocess.Popen(command, start_new_session=True, **options)


def was_killed(code: int) -> bool:
    """Whether an exit code says that a process was killed, as systems do for want of memory."""
    return code == -getattr(signal, "SIGKILL", 9)


def load_average() -> float | None:
    """Processes that wanted a core during the last minute, on average; None where unknown."""
    if not hasattr(os, "getloadavg"):  # Windows.
        return None
    return round(os.getloadavg()[0], 1)


def output_of(*command: str, folder: Path | None = None) -> str:
    """What a program prints, stripped; empty if there is no such program or it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the disk cannot do that."""
    try:
        os.link(source, target)
    except (OSError, AttributeError, NotImplementedError):
        shutil.copyfile(source, target)


def print_anything() -> None:
    """Let `print` write characters that the console lacks as escapes, where it would fail."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue]


def is_device(name: str) -> bool:
    """Whether Windows keeps a name for a device, so that no file can have it.

    Example:
        >>> is_device("aux.ply"), is_device("auxiliary")
        (True, False)
    """
    return name.partition(".")[0].strip().lower() in DEVICES


def _gigabytes(peak: int) -> float:
    """Peak memory as the system counts it: in bytes on macOS, else in kilobytes."""
    return peak / 1e9 if sys.platform == "darwin" else peak * 1024 / 1e9
