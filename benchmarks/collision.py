"""Compare prices and corners of collision pieces: how many, how large, and how near to the surface.

    python benchmarks/collision.py runs/desk runs/drums --output benchmarks/collision.json

Takes finished runs and surrounds the parts of one cut of each. The distance between the pieces and
the scene is that from points on the pieces' outer surface to the nearest Gaussian. Prints the table
of docs/research/collision.md.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree

from splat_uff.export.collision import MOST_CORNERS, MOST_PIECES, PRICE, VISIBLE, collision_pieces
from splat_uff.export.hulls import Hull
from splat_uff.gaussians.source import centres_of
from splat_uff.run.open import Run, open_run
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

SEGMENTS = 20
FEWEST = 100
"""Gaussians below which a part is not measured."""
SAMPLES = 3000
UNLIMITED = 1000
ALL = "all"
MEANS = ("pieces", "triangles", "volume", "away", "far", "share", "seconds")
SETTINGS: list[dict[str, Any]] = [
    {"price": 1.0, "most_pieces": 1, "most_corners": MOST_CORNERS},
    *(
        {"price": price, "most_pieces": MOST_PIECES, "most_corners": MOST_CORNERS}
        for price in (0.2, 0.1, 0.06, PRICE, 0.02, 0.01)
    ),
    {"price": 0.001, "most_pieces": 256, "most_corners": MOST_CORNERS},
    *(
        {"price": PRICE, "most_pieces": MOST_PIECES, "most_corners": corners}
        for corners in (16, 64, UNLIMITED)
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="finished runs")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = []
    for folder in options.runs:
        run = open_run(folder, finished=True)
        nodes, sizes = np.unique(run.nodes(SEGMENTS), return_counts=True)
        for node in nodes[sizes >= FEWEST].tolist():
            rows += measure(run, node)
        print(f"{run.provenance.scene}: {len(rows)} rows", flush=True)
    summary = summary_of(rows)
    write_json(options.output, {**measured_here(), "rows": summary})
    print(table_of(summary))


def measure(run: Run, node: int) -> list[dict[str, Any]]:
    """One row for each setting: volumes are in those of a single hull, distances in diagonals."""
    centres = centres_of(run.table)[run.walk.leaves(node)]
    shown = 1 / (1 + np.exp(-run.table["opacity"][run.walk.leaves(node)])) >= VISIBLE
    seen = centres[shown] if shown.any() else centres
    low, high = np.percentile(seen, (1, 99), axis=0)
    diagonal, tree = float(np.linalg.norm(high - low)), KDTree(seen)
    whole, rows = 0.0, []
    for setting in SETTINGS:
        start = time.process_time()
        found = collision_pieces(run.table, run.walk, node, **setting)
        seconds = time.process_time() - start
        whole = whole or found.volume
        points = outer_points(found.pieces, rng=np.random.default_rng(0))
        away = tree.query(points)[0] / diagonal
        rows.append({
            **{"scene": run.provenance.scene, "node": node, "size": len(centres), **setting},
            "pieces": len(found.pieces),
            "triangles": sum(len(piece.triangles) for piece in found.pieces),
            "volume": found.volume / whole,
            "away": float(away.mean()),
            "far": float(np.percentile(away, 95)),
            "share": found.share,
            "seconds": seconds,
        })  # fmt: skip
    return rows


def outer_points(pieces: tuple[Hull, ...], *, rng: np.random.Generator) -> Float[np.ndarray, "M 3"]:
    """Points spread evenly over the surfaces of the pieces, without those inside of others."""
    corners = np.concatenate([piece.vertices[piece.triangles] for piece in pieces])
    owners = np.repeat(np.arange(len(pieces)), [len(piece.triangles) for piece in pieces])
    a, b, c = corners.transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = rng.choice(len(areas), SAMPLES, p=areas / areas.sum())
    u, v = rng.random((2, SAMPLES, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points = a[chosen] + u * (b - a)[chosen] + v * (c - a)[chosen]
    outside = np.ones(SAMPLES, bool)
    for number, piece in enumerate(pieces):
        outside &= (owners[chosen] == number) | ~piece.holds(points)
    return points[outside]


def summary_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over the parts of each scene, and of all, for each setting."""
    scenes = list(dict.fromkeys(row["scene"] for row in rows))
    found = []
    for scene in (*scenes, ALL):
        for setting in SETTINGS:
            own = [row for row in rows if setting.items() <= row.items()]
            own = [row for row in own if scene in (row["scene"], ALL)]
            means = {name: round(float(np.mean([row[name] for row in own])), 4) for name in MEANS}
            ends = {
                "parts": len(own),
                "most": max(row["pieces"] for row in own),
                "least_share": round(min(row["share"] for row in own), 4),
            }
            found.append({"scene": scene, **setting, **ends, **means})
    return found


def table_of(summary: list[dict[str, Any]]) -> str:
    """Means over all parts, as Markdown."""
    lines = [
        "| price | most pieces | most corners | pieces, mean / most | triangles | volume | "
        "distance, mean / 95 % | centres inside, mean / least | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in summary:
        if row["scene"] == ALL:
            corners = row["most_corners"] if row["most_corners"] < UNLIMITED else "all"
            lines.append(
                f"| {row['price']} | {row['most_pieces']} | {corners} | {row['pieces']:.1f} / "
                f"{row['most']} | {row['triangles']:.0f} | {row['volume']:.2f} | "
                f"{100 * row['away']:.1f} / {100 * row['far']:.1f} % | {row['share']:.3f} / "
                f"{row['least_share']:.3f} | {row['seconds']:.1f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    with told_in_one_line():
        main()
