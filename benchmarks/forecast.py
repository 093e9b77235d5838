"""How long does a step of the fit take, by pixels and Gaussians? (splat_uff/training/forecast.py)

    python benchmarks/forecast.py RUN [RUN ...]

Goes on with the fit of a finished run on a built-in scene, with a tenth, half and all of its
Gaussians, on whole photos and on windows of them, and prints the constants of the forecast that
explain these times best. Then, for this and further runs, which this machine must have trained, it
prints what these constants say of each run's fit and of the stages after it, and what these took.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

from splat_uff.gaussians import fit as gaussians_fit
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.training import forecast
from splat_uff.training.forecast import Work

NAMES = "STEP", "STEP_PIXEL", "STEP_GAUSSIAN", "STEP_SHOWN"
WARM, COUNTED = 8, 25
"""Steps before the clock starts, and steps of which the median counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="finished runs on built-in scenes")
    runs = [open_run(path, finished=True) for path in parser.parse_args().runs]
    rows, seconds = [], []
    for share in (0.1, 0.5, 1.0):
        for window in (1.0, 0.5, 0.25, 0.06):
            count, took = time_steps(runs[0], share, window)
            pixels = window * runs[0].capture.train[0].camera.width ** 2
            rows.append((1.0, pixels, count, count * window))
            seconds.append(took)
            print(f"{count:7d} Gaussians, {pixels:8.0f} pixels: {1000 * took:6.1f} ms", flush=True)
    amounts, measured = np.array(rows), np.array(seconds)
    constants, _ = nnls(amounts / measured[:, None], np.ones(len(measured)))
    errors = amounts @ constants / measured - 1
    for name, constant in zip(NAMES, constants, strict=True):
        setattr(forecast, name, float(constant))
        print(f"{name} = {constant:.2g}")
    print(f"largest error of a step: {np.abs(errors).max():.0%}")
    for run in runs:
        compare(run)


def time_steps(run: Run, share: float, window: float) -> tuple[int, float]:
    """Number of Gaussians, and seconds of a step with that share of them and of a photo."""
    gaussians, settings = run.gaussians, run.provenance.settings
    camera = run.capture.train[0].camera
    pixels = int(window * camera.width * camera.height)
    config = replace(settings.gaussians, step_pixels=max(1024, pixels), coarse=0.0)
    fit = gaussians_fit._Fit(run.capture, config, None, settings.seed, "cpu")
    order = np.random.default_rng(0).permutation(len(gaussians))
    chosen = order[: int(share * len(order))]
    tensors = {name: each[chosen].clone() for name, each in gaussians.tensors().items()}
    tensors["log_scales"] += 0.5 * np.log(1 / share)  # They cover as much as all did.
    fit._set_params({gaussians_fit._OURS[name]: each for name, each in tensors.items()})
    fit.step = 13 * settings.gaussians.steps // 20
    times = []
    for _ in range(WARM + COUNTED):
        start = time.perf_counter()
        fit.advance()
        times.append(time.perf_counter() - start)
    return len(chosen), float(np.median(times[WARM:]))


def compare(run: Run) -> None:
    """Print what the constants say of a run, and what it took."""
    work = Work.of(run.capture, run.provenance.settings)
    took = run.metrics["seconds"]
    after = took["features"] + took["hierarchy"] + took["evaluate"]
    print(
        f"{run.folder.path.name}: fit {work.fit_after(0):.0f} s, took {took['gaussians']:.0f} s; "
        f"after it {work.after_fit():.0f} s, took {after:.0f} s"
    )


if __name__ == "__main__":
    with told_in_one_line():
        main()
