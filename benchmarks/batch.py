"""A batch of four small captures against four trainings one after the other: benchmarks/batch.json.

    python benchmarks/batch.py --output benchmarks/batch.json

All ways train the same four captures, seeds of one built-in scene, each way in turn and the whole
round several times over. *single* are four commands `splat-uff train`, one after the other, with
all cores; the others are one command `splat-uff batch` with or without Ray, one capture at a time
with all cores, or two at a time with half of them each. Times are those of the whole commands.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.system.portable import load_average, usable_cores

SEEDS = (0, 1, 2, 3)
WAYS = ("single", "ray", "ray, one at a time", "no ray", "no ray, one at a time")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scene", default="toy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--set", nargs="*", default=[], help="settings as NAME=VALUE, for all")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {way: [] for way in options.ways}
    with tempfile.TemporaryDirectory() as folder:
        # Makes the scene, and compiles kernels.
        run("single", Path(folder) / "first", options, seeds=SEEDS[:1])
        for number in range(options.rounds):
            for way in options.ways:
                spent = run(way, Path(folder) / f"{number} {way}", options, seeds=SEEDS)
                seconds[way].append(round(spent, 2))
                print(f"{way}: {spent:.1f} s", flush=True)
                write_json(options.output, record(seconds, options))


def record(seconds: dict[str, list[float]], options: argparse.Namespace) -> dict[str, Any]:
    """Times of all rounds so far, and each way's median as a share of that of single trainings."""
    medians = {way: statistics.median(times) for way, times in seconds.items() if times}
    single = medians.get("single")
    return {
        **measured_here(),
        "load": load_average(),
        "scene": options.scene,
        "captures": len(SEEDS),
        "settings": options.set,
        "seconds": seconds,
        "of_single": {way: round(each / single, 3) for way, each in medians.items()}
        if single
        else {},
    }


def run(way: str, output: Path, options: argparse.Namespace, *, seeds: tuple[int, ...]) -> float:
    """Train on all captures in one way; returns the seconds that it took."""
    start = time.perf_counter()
    if way == "single":
        flags = [part for each in options.set for part in f"--{each}".split("=", 1)]
        for seed in seeds:
            where = ["--scene", options.scene, "--output", str(output / str(seed))]
            command("train", *where, "--seed", str(seed), *flags)
    else:
        output.mkdir(parents=True)
        listed = output / "scenes.toml"
        listed.write_text(
            "".join(
                f'[[captures]]\nname = "{seed}"\nscene = "{options.scene}"\n'
                f"settings.seed = {seed}\n"
                for seed in seeds
            ),
            encoding="utf-8",
        )
        flags = ["--no-ray"] if way.startswith("no ray") else []
        if "one at a time" in way:
            flags += ["--cores", str(usable_cores())]
        if options.set:
            flags += ["--set", *options.set]
        command("batch", str(listed), "--output", str(output / "runs"), *flags)
    return time.perf_counter() - start


def command(*args: str) -> None:
    """Run a command of ours quietly; what it says is shown if it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "splat_uff", *args],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


if __name__ == "__main__":
    with told_in_one_line():
        main()
