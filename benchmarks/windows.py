"""What does a fit lose whose steps see little of a large photo? And is the forecast right?

    python benchmarks/windows.py drums DIR --size 800 --output benchmarks/windows.json
    python benchmarks/windows.py DIR --size 1280 --most 250000 -- --masks none

trains each scene twice: with steps that look at `--most` pixels at most, of reduced photos and
then of windows, and with steps that look at whole photos. A scene is a folder of a capture, or
built in and then made with photos of this size; what follows `--` is passed on to `train`. The
forecast is what a training says after its first steps; its error is relative to the time from the
beginning of the fit to the end of the training. Rows of other scenes and sizes stay in the file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from splat_uff.gaussians.config import GaussiansConfig
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.system.errors import InputError, told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training import forecast, stages

WHOLE = 10**9
"""More pixels than any photo has."""
MARK = "forecast in seconds:"
"""Before the forecast, in what a training in a process of its own prints."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scenes", nargs="+", help="scenes, or folders of captures")
    parser.add_argument("--size", type=int, default=800, help="as train --size")
    parser.add_argument("--most", type=int, default=GaussiansConfig().step_pixels)
    parser.add_argument("--output", type=Path, required=True)
    options, flags = parser.parse_known_args()
    flags = [each for each in flags if each != "--"]
    for scene in options.scenes:
        if scene not in RECIPES and not Path(scene).is_dir():
            raise InputError(f"{scene} is neither a built-in scene nor a folder; pass one of them.")
    rows = json.loads(options.output.read_text("utf-8"))["rows"] if options.output.exists() else []
    with tempfile.TemporaryDirectory() as scratch:
        train("toy", 64, [], Path(scratch) / "toy")  # Compiles kernels, and is not counted.
        for scene in options.scenes:
            for most in (options.most, WHOLE):
                name = Path(scene).name
                own = ["--gaussians.step-pixels", str(most), *flags]
                row: dict[str, Any] = {"scene": name, "size": options.size, "windows": most < WHOLE}
                row |= {"most": options.most, **measured_here()}
                row |= train(scene, options.size, own, Path(scratch) / f"{name}-{most}")
                print(json.dumps(row), flush=True)
                rows = [old for old in rows if _case(old) != _case(row)] + [row]
                write_json(options.output, {"rows": rows})


def train(scene: str, size: int, flags: list[str], run: Path) -> dict[str, Any]:
    """Scores and seconds of one training, and its forecast."""
    source = ["--scene", scene] if scene in RECIPES else ["--data", scene]
    words = [*("train", *source, "--size", str(size), "--output", str(run)), *flags]
    words = [sys.executable, __file__, *words]
    done = subprocess.run(words, stdout=subprocess.PIPE, encoding="utf-8", check=True)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    seconds, scores = metrics["seconds"], metrics.get("nc")
    spent = seconds["total"] - seconds["capture"] - seconds["masks"]
    (told,) = (line for line in done.stdout.splitlines() if line.startswith(MARK))
    said = json.loads(told.removeprefix(MARK))
    return {
        "psnr": metrics["psnr"],
        "nc": scores and scores["mean"],
        "gaussians": metrics["num_gaussians"],
        "seconds": seconds,
        "forecast": said and round(said, 1),
        "spent": round(spent, 1),
        "forecast_error": said and round(said / spent - 1, 3),
    }


def train_here(words: list[str]) -> None:
    """Run `splat-uff` in this process, and print the forecast in seconds.

    Scenes that are built in are made with photos of the size of the training.
    """
    from splat_uff.cli import main

    size = int(words[words.index("--size") + 1])
    RECIPES.update({name: replace(each, photo_size=size) for name, each in RECIPES.items()})

    made: list[forecast.Forecast] = []

    class Kept(forecast.Forecast):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            made.append(self)

    stages.Forecast = Kept  # pyright: ignore[reportPrivateImportUsage]
    main(words)
    print(MARK, json.dumps(made[0].seconds))


def _case(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["scene"], row["size"], row["windows"]


if __name__ == "__main__":
    with told_in_one_line():
        if sys.argv[1:2] == ["train"]:
            train_here(sys.argv[1:])
        else:
            main()
