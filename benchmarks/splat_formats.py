"""Is the tree of a splat the same, whatever the format of its file?

    python benchmarks/splat_formats.py RUNS --output benchmarks/splat_formats.json

Writes the Gaussians of finished runs of built-in scenes as files of every format that can be read:
by splat-transform where it writes the format, by GaussianSplats3D as .ksplat (`make node` installs
both), and by our own writer as .splat, which neither of them writes. Each file is read, and
features and tree are made from it on the same photos and masks. The tree is scored on the held-out
views, and compared with the tree of the .ply: rows are matched by their centres, and the adjusted
Rand index (Hubert and Arabie 1985) of the cuts into 5, 20 and 100 segments is 1 if they are the
same.
"""

import argparse
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from scipy.sparse import coo_matrix
from scipy.spatial import cKDTree

from splat_uff.evaluate.score import evaluate
from splat_uff.formats.ply import write_ply
from splat_uff.formats.write_splat import write_splat
from splat_uff.gaussians.ply import load_ply, table_of
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.hierarchy.dendrogram import Dendrogram, cut_into
from splat_uff.masks.bags import Bags
from splat_uff.masks.gather import OWN, gather_masks
from splat_uff.render import Gaussians
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here
from splat_uff.training.frozen import FrozenScene, refit

NODE = Path(__file__).parents[1] / "tests" / "node"
SEGMENTS = (5, 20, 100)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs of built-in scenes")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    known = json.loads(options.output.read_text("utf-8")) if options.output.exists() else {}
    rows = {(row["scene"], row["file"]): row for row in known.get("rows", [])}
    for folder in options.runs:
        run = open_run(folder, finished=True)
        for row in compare(run):
            print(json.dumps(row), flush=True)
            rows[row["scene"], row["file"]] = row
            write_json(options.output, {**measured_here(), "rows": list(rows.values())})


def compare(run: Run):
    """Rows of one scene, that of the .ply first."""
    bags = gather_masks(run.capture, OWN)
    plain: tuple[Gaussians, Dendrogram] | None = None
    with TemporaryDirectory() as temporary:
        source = Path(temporary) / "scene.ply"
        write_ply(source, {"vertex": run.table})
        for name, write in FILES.items():
            path = Path(temporary) / f"file.{name.split()[0].lstrip('.')}"
            write(source, path)
            read = load_ply(path)
            world = move_gaussians(read, np.linalg.inv(run.source_from_world))
            world = replace(world, fitted_focal=run.gaussians.fitted_focal)
            _, hierarchy, _ = refit(FrozenScene(world, run.capture, bags), run.provenance.settings)
            plain = plain or (world, hierarchy.tree)
            metrics = evaluate(
                run.capture, world, hierarchy, Bags([]), run.provenance.settings.evaluate, seed=0
            ).metrics
            yield {
                "scene": run.provenance.scene,
                "file": name,
                "bytes": path.stat().st_size,
                "gaussians": len(world),
                "nc": metrics["nc"]["mean"],
                "nc_fixed": metrics["nc_fixed"]["mean"],
                "rand": agreement(plain, (world, hierarchy.tree)),
            }


def agreement(
    one: tuple[Gaussians, Dendrogram], other: tuple[Gaussians, Dendrogram]
) -> dict[str, float]:
    """Adjusted Rand index of cuts, over Gaussians matched by their centres."""
    places = cKDTree(other[0].means.numpy()).query(one[0].means.numpy())[1]
    found = {}
    for count in SEGMENTS:
        here, there = cut_into(one[1], count), cut_into(other[1], count)[places]
        found[str(count)] = adjusted_rand(here, there)
    return found


def adjusted_rand(here: np.ndarray, there: np.ndarray) -> float:
    """Adjusted Rand index of two labellings of the same rows."""
    _, here = np.unique(here, return_inverse=True)
    _, there = np.unique(there, return_inverse=True)
    shared = coo_matrix((np.ones(len(here)), (here, there))).tocsr()
    pairs = lambda counts: float((counts * (counts - 1) / 2).sum())  # noqa: E731
    both = pairs(shared.data)
    first, second = pairs(np.bincount(here)), pairs(np.bincount(there))
    expected = first * second / (len(here) * (len(here) - 1) / 2)
    most = (first + second) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)


def _transformed(source: Path, path: Path, *flags: str) -> None:
    program = NODE / "node_modules" / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    command = ["node", program, "-q", "-w", "-g", "cpu", *flags, source, path]
    subprocess.run(command, check=True, capture_output=True)


def _ksplat(level: int) -> Callable[[Path, Path], None]:
    def write(source: Path, path: Path) -> None:
        arguments = [str(level), "1", "5", "256"]
        command = ["node", NODE / "ksplat.mjs", source, path, *arguments]
        subprocess.run(command, check=True, capture_output=True)

    return write


def _copied(source: Path, path: Path) -> None:
    path.write_bytes(source.read_bytes())


def _shuffled(source: Path, path: Path) -> None:
    table = table_of(load_ply(source))
    write_ply(path, {"vertex": np.random.default_rng(0).permutation(table)})


FILES: dict[str, Callable[[Path, Path], None]] = {
    ".ply": _copied,
    ".ply again": _copied,
    ".ply in another order": _shuffled,
    ".compressed.ply": _transformed,
    ".spz version 3": lambda source, path: _transformed(source, path, "--spz-version", "3"),
    ".spz version 4": _transformed,
    ".sog": _transformed,
    ".ksplat level 0": _ksplat(0),
    ".ksplat level 1": _ksplat(1),
    ".splat": lambda source, path: write_splat(path, table_of(load_ply(source))),
}


if __name__ == "__main__":
    with told_in_one_line():
        main()
