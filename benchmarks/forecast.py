"""How long does a step of the fit take, by pixels and Gaussians? (splat_uff/training/forecast.py)

    python benchmarks/forecast.py RUN [RUN ...]

Goes on with the fit of a finished run on a built-in scene, with a tenth, half and all of its
Gaussians, on whole photos, windows of them and reduced photos, and prints the constants of the
forecast that explain these times best. Then, for this and further runs, which this machine must
have trained, it prints what these constants say of each run's fit and of the stages after it, and
what these took. Steps here are of the last part of a fit, without the density schedule.
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
SHARES = 0.1, 0.5, 1.0
"""Shares of the run's Gaussians."""
SEEN = (1.0, False), (0.5, False), (0.25, False), (0.06, False), (0.25, True), (0.0625, True)
"""Shares of a photo's pixels, and whether they are those of a reduced photo or of a window."""
ROUNDS = 3
WARM, COUNTED = 8, 25
"""Steps before the clock starts, and steps of which the median counts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+", help="finished runs on built-in scenes")
    runs = [open_run(path, finished=True) for path in parser.parse_args().runs]
    amounts, measured = measure(runs[0])
    constants, _ = nnls(amounts / measured[:, None], np.ones(len(measured)))
    errors = amounts @ constants / measured - 1
    for name, constant in zip(NAMES, constants, strict=True):
        setattr(forecast, name, float(constant))
        print(f"{name} = {constant:.2g}")
    print(f"largest error of a step: {np.abs(errors).max():.0%}")
    for run in runs:
        compare(run)


def measure(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """Amounts by which the constants are multiplied, a row for each case, and seconds of its steps.

    Medians of several rounds over all cases, since the speed of a machine wanders.
    """
    cases = [(share, *seen) for share in SHARES for seen in SEEN]
    rounds, amounts = [], []
    photo = run.capture.train[0].camera
    for turn in range(ROUNDS):
        rounds.append([time_steps(run, *case) for case in cases])
        print(f"round {turn + 1} of {ROUNDS} is done", flush=True)
    seconds = np.median(rounds, axis=0)
    for (share, seen, coarse), took in zip(cases, seconds, strict=True):
        count, pixels = share * len(run.gaussians), seen * photo.width * photo.height
        amounts.append((1.0, pixels, count, count if coarse else count * seen))
        what = "reduced photo" if coarse else "window"
        print(f"{count:7.0f} Gaussians, {what} of {pixels:7.0f} pixels: {1000 * took:6.1f} ms")
    return np.array(amounts), seconds


def time_steps(run: Run, share: float, seen: float, coarse: bool) -> float:
    """Seconds of a step with a share of the Gaussians and of a photo's pixels.

    The pixels are those of a reduced photo if `coarse`, or else of a window.
    """
    gaussians, settings = run.gaussians, run.provenance.settings
    camera = run.capture.train[0].camera
    pixels = int(seen * camera.width * camera.height)
    config = replace(settings.gaussians, step_pixels=max(1024, pixels), coarse=float(coarse))
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
    return float(np.median(times[WARM:]))


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
