"""How time and memory grow with Gaussians, pixels, photos and masks: writes benchmarks/growth.json.

    python benchmarks/growth.py --output benchmarks/growth.json --picture docs/images/growth.png
    python benchmarks/growth.py --only large --output benchmarks/growth.json

Trains on cities of known parts (`city.py`), whose Gaussians are given, each in a process of its
own. One of the four numbers changes at a time; the slope is that of a straight line through the
logarithms. *large* is a million Gaussians and 200 photos of 1600 x 1067 pixels; *small photos* is
a million Gaussians and 120 photos of 200 x 133. Cases that the file has already are left out,
unless --again is given; then those of this machine are replaced.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from city import ASPECT, make_city
from scipy.sparse import csr_matrix

from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.run.open import open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.system.portable import run_measured

STAGES = ("gaussians", "features", "hierarchy", "evaluate", "total")
"""Stages whose growth is given; `gaussians` compares the given ones with the photos."""
CUTS = 24
"""Cuts of the tree among which the best segment for a true part is looked for."""


@dataclass(frozen=True)
class Case:
    """One training."""

    gaussians: int = 100_000
    width: int = 400
    views: int = 50
    share: float = 1.0
    """Share of the houses that have masks."""


BASE = Case()
AXES: dict[str, tuple[Case, ...]] = {
    "gaussians": tuple(replace(BASE, gaussians=n) for n in (62_500, 125_000, 250_000, 500_000)),
    "width": tuple(replace(BASE, width=n) for n in (200, 400, 800, 1600)),
    "views": tuple(replace(BASE, views=n) for n in (25, 50, 100, 200)),
    "masks": tuple(replace(BASE, share=n) for n in (0.125, 0.25, 0.5, 1.0)),
    "small photos": (Case(1_000_000, 200, 120),),
    "large": (Case(1_000_000, 1600, 200),),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=AXES, default=list(AXES))
    parser.add_argument("--again", action="store_true", help="measure also what the file has")
    parser.add_argument("--picture", type=Path, help="PNG to draw")
    parser.add_argument("--keep", type=Path, help="folder of the cities and runs, which stay there")
    options = parser.parse_args()
    record = (
        json.loads(options.output.read_text(encoding="utf-8")) if options.output.exists() else {}
    )
    rows: list[dict[str, Any]] = record.get("rows", [])
    for axis in options.only:
        for case in AXES[axis]:
            known = [row for row in rows if row["axis"] == axis and row["case"] == asdict(case)]
            if known and not options.again:
                continue
            row = {"axis": axis, "case": asdict(case), **measure(case, options.keep)}
            row |= measured_here()
            print(json.dumps(row), flush=True)
            same = [other for other in known if other["machine"] == row["machine"]]
            rows = [other for other in rows if other not in same] + [row]
            write_json(options.output, {"rows": rows, "slopes": slopes(rows)})
    print(json.dumps(slopes(rows), indent=2))
    if options.picture:
        draw(rows, options.picture)


def measure(case: Case, keep: Path | None) -> dict[str, Any]:
    """Make a city, train on it, and return seconds by stage, peak memory and the tree's fit."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as place:
        name = f"{case.gaussians}-{case.width}-{case.views}-{case.share}"
        folder = (Path(place) if keep is None else keep) / name
        if not (folder / "transforms.json").exists():
            make_city(folder, case.gaussians, case.views, case.width, share=case.share)
        words = [
            *(sys.executable, "-m", "splat_uff", "train", "--data", str(folder), "--overwrite"),
            *("--gaussians", str(folder / "city.ply"), "--masks", str(folder / "masks")),
            *("--size", str(case.width), "--output", str(folder / "run")),
        ]
        status, peak = run_measured(words)
        if status:
            sys.exit(f"training on {case} failed.")
        metrics = json.loads((folder / "run" / "metrics.json").read_text(encoding="utf-8"))
        return {
            "masks_per_photo": masks_per_photo(folder / "masks", case.views),
            "seconds": metrics["seconds"],
            "peak_gb": None if peak is None else round(peak, 2),
            "found": found(folder),
        }


def masks_per_photo(folder: Path, views: int) -> float:
    """Mean number of masks of a photo."""
    from PIL import Image

    labels = (np.unique(np.asarray(Image.open(path))) for path in folder.glob("*.png"))
    return round(sum(int((each > 0).sum()) for each in labels) / views, 1)


def found(folder: Path) -> dict[str, float]:
    """Mean IoU of the true parts and houses with the best segments of any cut."""
    run, truth = open_run(folder / "run"), np.load(folder / "labels.npz")
    kept = run.source.kept
    best: dict[str, np.ndarray] = {}
    for count in np.unique(np.geomspace(2, 2000, CUTS).round().astype(int)):
        segments = cut_into(run.hierarchy.tree, int(count))
        for name in ("parts", "houses"):
            true = truth[name][kept]
            joint = csr_matrix((np.ones(len(true)), (segments, true))).tocoo()
            union = np.bincount(segments)[joint.row] + np.bincount(true)[joint.col] - joint.data
            ious = np.zeros(int(true.max()) + 1)
            np.maximum.at(ious, joint.col, joint.data / union)
            best[name] = np.maximum(best.get(name, 0), ious)
    return {name: round(float(ious[1:].mean()), 3) for name, ious in best.items()}


def number_of(row: dict[str, Any]) -> float:
    """The number that changes along a row's axis."""
    axis, case = row["axis"], row["case"]
    if axis == "masks":
        return row["masks_per_photo"]
    if axis == "width":
        return case["width"] * round(case["width"] / ASPECT)
    return case[axis]


def curves(rows: list[dict[str, Any]]) -> dict[str, dict[str, tuple[list[float], list[float]]]]:
    """Numbers and seconds by axis and stage, and peak memory."""
    found: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for axis in ("gaussians", "width", "views", "masks"):
        own = sorted((row for row in rows if row["axis"] == axis), key=number_of)
        numbers = [number_of(row) for row in own]
        if len(own) > 1:
            found[axis] = {
                stage: (numbers, [row["seconds"][stage] for row in own]) for stage in STAGES
            } | {"peak memory": (numbers, [row["peak_gb"] for row in own])}
    return found


def slopes(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Exponent of growth by axis and stage: the slope in a plot of the logarithms."""
    return {
        axis: {
            stage: round(float(np.polyfit(np.log(numbers), np.log(values), 1)[0]), 2)
            for stage, (numbers, values) in by_stage.items()
        }
        for axis, by_stage in curves(rows).items()
    }


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Plot seconds by stage along each axis, both logarithmic."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullFormatter

    by_axis, exponents = curves(rows), slopes(rows)
    figure, panels = plt.subplots(1, len(by_axis), figsize=(4 * len(by_axis), 3.6), squeeze=False)
    words = {"width": "pixels of a photo", "masks": "masks of a photo", "views": "photos"}
    for panel, (axis, by_stage) in zip(panels[0], by_axis.items(), strict=True):
        for stage in STAGES:
            numbers, values = by_stage[stage]
            label = f"{stage}, slope {exponents[axis][stage]}"
            panel.loglog(numbers, values, "o-", label=label)
        panel.set(xlabel=words.get(axis, "Gaussians"), ylabel="seconds")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.legend(fontsize=7)
        panel.grid(which="both", alpha=0.2)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    with told_in_one_line():
        main()
