"""Measure whether `splat_uff.run.judge_masks` notices masks that were damaged on purpose.

    python benchmarks/judge_masks.py runs/drums --output benchmarks/judge_masks.json

Takes finished runs with their masks. First, the masks of five views are damaged, one in each way,
and the places of these views among the worst are noted, with Gaussians and without. Then a growing
share of all views is damaged, in turns in each way, and the mean agreement is noted. The table of
docs/research/judging-masks.md is printed.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from splat_uff.masks.records import MaskSet, MaskTree
from splat_uff.masks.tree import build_tree
from splat_uff.run.judge_masks import judge_capture
from splat_uff.run.masks import training_masks
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

KINDS = ("shifted", "merged", "rectangles", "dropped", "swapped")
SHARES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
Bag = tuple[MaskSet, MaskTree]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs with masks")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--trials", type=int, default=4, help="choices of the damaged views")
    options = parser.parse_args()
    rows = [measure(open_run(folder), options.trials) for folder in options.runs]
    write_json(options.output, {**measured_here(), "rows": rows})
    for row in rows:
        print(table_of(row))


def measure(run: Run, trials: int) -> dict[str, Any]:
    """Places of damaged views among the worst, and agreement by the share of damaged views."""
    clean: list[Bag] = list(training_masks(run))
    start = time.perf_counter(), time.process_time()
    agreement = judge_capture(run.capture, clean, run.gaussians).means["agreement"]
    seconds = time.perf_counter() - start[0], time.process_time() - start[1]
    places: dict[str, dict[str, list[int]]] = {kind: {} for kind in KINDS}
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        chosen = rng.choice(len(clean), len(KINDS), replace=False)
        bags = list(clean)
        for view, kind in zip(chosen, KINDS, strict=True):
            bags[view] = damaged(clean, int(view), kind, rng)
        for name, gaussians in (("with", run.gaussians), ("without", None)):
            judged = judge_capture(run.capture, bags, gaussians, count=len(bags))
            order = [bad.view for bad in judged.worst]
            for view, kind in zip(chosen, KINDS, strict=True):
                place = order.index(run.capture.train[view].name) + 1
                places[kind].setdefault(name, []).append(place)
    return {
        "scene": run.provenance.scene,
        "size": max(run.capture.size),
        "views": len(clean),
        "gaussians": len(run.gaussians),
        "seconds": round(seconds[0], 1),
        "cpu_seconds": round(seconds[1], 1),
        "agreement": round(agreement, 3),
        "places": places,
        "by_share": by_share(run, clean),
    }


def by_share(run: Run, clean: Sequence[Bag]) -> list[list[float]]:
    """Mean agreement with a growing share of views damaged: share, agreement."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(clean))
    spoilt = {
        view: damaged(clean, int(view), KINDS[turn % len(KINDS)], rng)
        for turn, view in enumerate(order)
    }
    rows = []
    for share in SHARES:
        bags = list(clean)
        for view in order[: round(share * len(clean))]:
            bags[view] = spoilt[view]
        judged = judge_capture(run.capture, bags, run.gaussians)
        rows.append([share, round(judged.means["agreement"], 3)])
    return rows


def damaged(bags: Sequence[Bag], view: int, kind: str, rng: np.random.Generator) -> Bag:
    """Masks of one view after damage of one of `KINDS`.

    A shift is by a tenth of the width; merged are the masks of less than half of the picture; of
    ten masks, eight are dropped; rectangles are as many as the masks; masks are swapped with those
    of the view half-way through the capture.
    """
    masks = bags[view][0].unpack()
    if kind == "shifted":
        masks = np.roll(masks, masks.shape[2] // 10, axis=2)
    elif kind == "merged":
        masks = np.logical_or.reduce(masks[masks.mean(axis=(1, 2)) < 0.5], keepdims=True)
    elif kind == "rectangles":
        masks = np.stack([_rectangle(masks.shape[1], masks.shape[2], rng) for _ in masks])
    elif kind == "dropped":
        masks = masks[rng.permutation(len(masks))[: max(len(masks) // 5, 1)]]
    elif kind == "swapped":
        masks = bags[(view + len(bags) // 2) % len(bags)][0].unpack()
    else:
        raise ValueError(kind)
    packed = MaskSet.of(masks)
    return packed, build_tree(packed)


def table_of(row: dict[str, Any]) -> str:
    """Markdown tables of one run."""
    lines = [
        f"*{row['scene']}*, {row['views']} views at size {row['size']}, {row['gaussians']} "
        f"Gaussians: agreement {row['agreement']:.3f}, {row['seconds']} s ({row['cpu_seconds']} s "
        "of CPU time).",
        "",
        "| damage | places with Gaussians | places without |",
        "| --- | --- | --- |",
    ]
    for kind, places in row["places"].items():
        cells = (", ".join(map(str, places[name])) for name in ("with", "without"))
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    shares, values = zip(*row["by_share"], strict=True)
    lines += [
        "",
        f"| damaged views | {' | '.join(f'{share:.0%}' for share in shares)} |",
        "| --- |" + " --- |" * len(shares),
        f"| agreement | {' | '.join(f'{value:.3f}' for value in values)} |",
        "",
    ]
    return "\n".join(lines)


def _rectangle(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    filled = np.zeros((height, width), bool)
    top, bottom = np.sort(rng.integers(0, height + 1, 2))
    left, right = np.sort(rng.integers(0, width + 1, 2))
    filled[top:bottom, left:right] = True
    return filled


if __name__ == "__main__":
    with told_in_one_line():
        main()
