"""What does numba's compiling of the kernels cost, and what would make it cheaper?

    python benchmarks/compiling.py --output benchmarks/compiling.json

Compiles what a first training compiles ahead (`splat_uff/training/kernels.py`), each time in a
process of its own with an empty cache, and notes CPU seconds by kernel. Then it compiles the
kernels of the photometric fit with other settings of numba.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numba
from numba.core.event import Event, Listener, register

from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training import kernels

VARIANTS = {
    "as it is": {},
    "LLVM's optimization level 1 in place of 3": {"NUMBA_OPT": "1"},
    "no wrapper for C": {"wrapper": "no"},
    "only loops over prange in parallel": {"parallel": "prange"},
    "nothing in parallel": {"parallel": "no"},
}
"""Settings by name: numba's environment variables, and `wrapper` and `parallel` of this script."""
ONLY_PRANGE = {
    name: name == "prange"
    for name in (
        *("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil"),
        *("fusion", "prange"),
    )
}


def main() -> None:
    if sys.argv[1:2] == ["--here"]:
        compile_here(sys.argv[2], json.loads(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1, help="times that settings are tried")
    options = parser.parse_args()
    parts = {part: compile_apart(part, {}) for part in (kernels.FIT, kernels.REST)}
    tried: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(options.rounds):
        for name, settings in VARIANTS.items():
            tried[name].append(compile_apart(kernels.FIT, settings)["seconds"])
            print(name, tried[name][-1], flush=True)
    rows = [{"settings": name, "seconds": each} for name, each in tried.items()]
    write_json(options.output, {"parts": parts, "variants": rows, **measured_here()})


def compile_apart(part: str, settings: dict[str, str]) -> dict[str, Any]:
    """CPU seconds of compiling a part in a new process with an empty cache."""
    with tempfile.TemporaryDirectory() as cache:
        numbas = {name: value for name, value in settings.items() if name.startswith("NUMBA")}
        done = subprocess.run(
            [sys.executable, __file__, "--here", part, json.dumps(settings)],
            env=os.environ | numbas | {"NUMBA_CACHE_DIR": cache},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", check=True,
        )  # fmt: skip
    return json.loads(done.stdout)


def compile_here(part: str, settings: dict[str, str]) -> None:
    """Compile a part in this process, and print CPU seconds in all and by kernel."""
    usual = numba.njit

    def njit(*functions: Any, **options: Any) -> Any:
        if settings.get("wrapper") == "no" and not functions:
            options["no_cfunc_wrapper"] = True
        if settings.get("parallel") and options.get("parallel"):
            options["parallel"] = ONLY_PRANGE if settings["parallel"] == "prange" else False
        return usual(*functions, **options)

    numba.njit = njit  # pyright: ignore[reportAttributeAccessIssue]
    watch = Watch()
    register("numba:compile", watch)
    import splat_uff.gaussians.fit
    import splat_uff.training.frozen  # noqa: F401

    start = time.process_time()
    (kernels.compile_fit if part == kernels.FIT else kernels.compile_rest)()
    seconds = time.process_time() - start
    ours = [(spent, name) for name, spent in watch.seconds.items() if "splat_uff" in name]
    slowest = {name: round(spent, 2) for spent, name in sorted(ours, reverse=True)[:12]}
    found = {"seconds": round(seconds, 1), "functions": watch.count, "kernels": slowest}
    print(json.dumps(found))


class Watch(Listener):
    """Listener that adds up the CPU seconds of each function, without those that it calls."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.count = 0
        self._running: defaultdict[int, list[list[float]]] = defaultdict(list)

    def on_start(self, event: Event) -> None:
        """Note the start of compiling a function."""
        self._running[threading.get_ident()].append([time.thread_time(), 0.0])

    def on_end(self, event: Event) -> None:
        """Add what a function took."""
        running = self._running[threading.get_ident()]
        start, inner = running.pop()
        spent = time.thread_time() - start
        if running:
            running[-1][1] += spent
        assert event.data is not None
        function = event.data["dispatcher"].py_func
        self.seconds[f"{function.__module__}.{function.__qualname__}"] += spent - inner
        self.count += 1


if __name__ == "__main__":
    with told_in_one_line():
        main()
