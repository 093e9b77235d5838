"""How long does each part of a step of the photometric fit take?

    python benchmarks/step.py RUN

Goes on with the fit of a finished run on a built-in scene, from its last Gaussians, and prints the
milliseconds of each part as means over 300 steps (docs/research/fit.md).
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from splat_uff.gaussians import fit as gaussians_fit
from splat_uff.gaussians import losses
from splat_uff.render import blending, direct, harmonics, projection
from splat_uff.run.open import open_run
from splat_uff.system.errors import told_in_one_line

WARM, COUNTED = 50, 300
"""Steps before the clock starts, and steps that count."""
PARTS = (
    (projection, "project_backward"), (projection, "project_forward"),
    (harmonics, "harmonics_forward"), (harmonics, "harmonics_backward"),
    (direct, "bin_into_tiles"), (blending, "blend_forward"), (blending, "blend_backward"),
    (losses, "ssim_and_slopes"), (losses, "pull_back_ssim"), (losses, "_over"),
    (losses, "_gradients"), (gaussians_fit, "step_adams"),
)  # fmt: skip
"""Functions that are timed, where the fit looks them up."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="finished run on a built-in scene")
    run = open_run(parser.parse_args().run, finished=True)
    settings = run.provenance.settings
    fit = gaussians_fit._Fit(run.capture, settings.gaussians, None, settings.seed, "cpu")
    theirs = gaussians_fit._OURS
    fit._set_params({theirs[name]: each for name, each in run.gaussians.tensors().items()})
    fit.step = 3 * settings.gaussians.steps // 4
    seconds: dict[str, float] = defaultdict(float)
    for place, name in PARTS:
        setattr(place, name, timed(getattr(place, name), name, seconds))
    for _ in range(WARM):
        fit.advance()
    seconds.clear()
    start = time.perf_counter()
    for _ in range(COUNTED):
        fit.advance()
    seconds["whole step"] = time.perf_counter() - start
    for name, total in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"{name:24s}{1000 * total / COUNTED:8.2f} ms")


def timed(function: Any, name: str, seconds: dict[str, float]) -> Any:
    """The function, whose time is added to `seconds`."""

    def run(*args: Any, **others: Any) -> Any:
        start = time.perf_counter()
        result = function(*args, **others)
        seconds[name] += time.perf_counter() - start
        return result

    return run


if __name__ == "__main__":
    with told_in_one_line():
        main()
