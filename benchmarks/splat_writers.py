"""Measure what each format of splats costs: size, time, rounding, and the picture.

    python benchmarks/splat_writers.py SPLATS.ply --output benchmarks/splat_writers.json

Writes the splats in every format, by our writers and by those of others, and lets splat-transform
(`make node`) read each file to a .ply. The rows of that are compared with those that were written,
and its pictures from around the scene with those of the original, drawn on the CPU. Rows of other
splats stay in the file. `--table` prints the file as Markdown, as in
docs/research/splat-writers.md.
"""

import argparse
import json
import math
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from splat_uff.formats.packing import Packable, morton_order, packable
from splat_uff.formats.records import SH_C0, empty_table
from splat_uff.formats.write_compressed_ply import chunk_order, write_compressed_ply
from splat_uff.formats.write_sog import write_sog
from splat_uff.formats.write_splat import write_splat
from splat_uff.formats.write_spz import write_spz
from splat_uff.gaussians.ply import load_ply, table_of
from splat_uff.geometry.axes import any_across, pose_along
from splat_uff.geometry.cameras import Camera
from splat_uff.render import render_colours
from splat_uff.render.records import Gaussians
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import measured_here

MODULES = Path(__file__).parents[1] / "tests" / "node" / "node_modules"
VIEWS, PIXELS, DISTANCE = 12, 400, 2.5
"""Pictures, their sides, and the distance in radii that hold 9 of 10 Gaussians."""
OURS: dict[str, Callable[[Path, np.ndarray], None]] = {
    ".splat": write_splat,
    ".compressed.ply": write_compressed_ply,
    ".spz": write_spz,
    ".spz, version 4": lambda path, table: write_spz(path, table, version=4),
    ".sog": write_sog,
}
ORDERS = {".compressed.ply": chunk_order, ".sog": morton_order}
"""Order in which our writers sort rows; splat-transform's sorts those of both by Morton codes."""
THEIRS = (".compressed.ply", ".spz", ".sog")
GSPLAT = {".splat": "splat", ".compressed.ply": "ply_compressed"}
HEADS = {
    "gaussians": "Gaussians",
    "megabytes": "MB",
    "seconds": "s",
    "psnr": "PSNR",
    "centre": "centre",
    "log_scale": "log scale",
    "colour": "colour",
    "opacity": "opacity",
    "degrees": "turn",
    "harmonics": "harmonics",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("splats", nargs="*", type=Path, help="3DGS .ply files")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--scale", action="store_true", help="time a million random Gaussians")
    parser.add_argument("--table", action="store_true", help="print the file as Markdown")
    options = parser.parse_args()
    record = (
        json.loads(options.output.read_text(encoding="utf-8"))
        if options.output.exists()
        else {"splats": {}}
    )
    for path in options.splats:
        record = {
            **record,
            **measured_here(),
            "splats": {**record["splats"], path.stem: measure(path)},
        }
        write_json(options.output, record)
    if options.scale:
        record = {**measured_here(), "splats": record["splats"], "million": measure_million()}
        write_json(options.output, record)
    if options.table:
        print_table(record)


def measure(path: Path) -> list[dict[str, Any]]:
    """Rows of one splat."""
    gaussians = load_ply(path)
    table = table_of(gaussians)
    cameras = cameras_around(gaussians)
    pictures = draw(gaussians, cameras)
    rows = []
    for writer, ending, write in writers(path, gaussians, table):
        with TemporaryDirectory() as folder:
            file = Path(folder) / f"written{ending.partition(',')[0]}"
            started = time.perf_counter()
            write(file)
            seconds = time.perf_counter() - started
            transform(file, back := Path(folder) / "back.ply")
            read = load_ply(back)
            row = {
                "format": ending,
                "writer": writer,
                "gaussians": len(read),
                "megabytes": file.stat().st_size / 1e6,
                "seconds": seconds,
                "psnr": psnr(pictures, draw(read, cameras)),
            }
            if writer != "gsplat":
                wanted = packable(table)
                if ending in ORDERS and writer == "ours":
                    wanted = wanted.ordered(ORDERS[ending](wanted.centres))
                elif ending in ORDERS:
                    transform(path, "--morton-order", again := Path(folder) / "again.ply")
                    wanted = packable(table_of(load_ply(again)))
                row |= errors(packable(table_of(read)), wanted)
        print(row, flush=True)
        rows.append(row)
    return rows


def measure_million() -> dict[str, dict[str, float]]:
    """Seconds of wall clock and of the processors for a million Gaussians of degree 3, by format.

    Harmonics are scattered around 500 rows, which is about as hard for a palette as a scene.
    """
    rng, count = np.random.default_rng(0), 1_000_000
    table = empty_table(count, 45)
    kinds, kind = rng.normal(0, 0.1, (500, 45)), rng.integers(0, 500, count)
    for name in table.dtype.names or ():
        table[name] = rng.normal(size=count)
        if name.startswith("f_rest_"):
            table[name] = kinds[kind, int(name[7:])] + 0.03 * table[name]
    found = {}
    with TemporaryDirectory() as folder:
        write_sog(Path(folder) / "warm", table[:64])  # Compiles.
        for ending, write in OURS.items():
            wall, cores = time.perf_counter(), time.process_time()
            write(Path(folder) / "written", table)
            found[ending] = {
                "seconds": time.perf_counter() - wall,
                "cpu_seconds": time.process_time() - cores,
                "megabytes": (Path(folder) / "written").stat().st_size / 1e6,
            }
            print(ending, found[ending], flush=True)
    return found


def writers(
    path: Path, gaussians: Gaussians, table: np.ndarray
) -> list[tuple[str, str, Callable[[Path], Any]]]:
    """Who writes, the ending, and the function that writes a file."""
    from gsplat import export_splats

    def exported(format: str) -> Callable[[Path], Any]:
        content = {
            "means": gaussians.means,
            "scales": gaussians.log_scales,
            "quats": gaussians.quats,
            "opacities": gaussians.opacity_logits,
            "sh0": gaussians.sh0,
            "shN": gaussians.shN,
        }
        return lambda file: file.write_bytes(export_splats(**content, format=format))  # pyright: ignore

    with TemporaryDirectory() as folder:
        write_sog(Path(folder) / "warm", table[:64])  # Compiles.
    return [
        *(("ours", end, lambda file, own=own: own(file, table)) for end, own in OURS.items()),
        *(("splat-transform", end, lambda file: transform(path, file)) for end in THEIRS),
        *(("gsplat", ending, exported(name)) for ending, name in GSPLAT.items()),
    ]


def transform(*arguments: object) -> None:
    """Run splat-transform."""
    program = MODULES / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    command = ["node", str(program), "-q", "-w", "-g", "cpu", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def errors(found: Packable, wanted: Packable) -> dict[str, float]:
    """Root mean square of what rounding changed."""
    cosines = np.abs((found.quats * wanted.quats).sum(axis=1)).clip(0, 1)
    changes = {
        "centre": found.centres - wanted.centres,
        "log_scale": found.log_scales - wanted.log_scales,
        "colour": SH_C0 * (found.dc - wanted.dc),
        "opacity": found.alphas - wanted.alphas,
        "degrees": np.degrees(2 * np.arccos(cosines)),
    }
    if found.rest.shape == wanted.rest.shape and wanted.rest.size:
        changes["harmonics"] = found.rest - wanted.rest
    return {name: float(np.sqrt((change**2).mean())) for name, change in changes.items()}


def cameras_around(gaussians: Gaussians) -> list[Camera]:
    """Cameras in all directions from the middle."""
    means = gaussians.means.double().numpy()
    middle = np.median(means, axis=0)
    radius = np.quantile(np.linalg.norm(means - middle, axis=1), 0.9)
    focal = PIXELS / 2 * math.sqrt(DISTANCE**2 - 1)
    K = np.array([[focal, 0, PIXELS / 2], [0, focal, PIXELS / 2], [0, 0, 1.0]])
    cameras = []
    for i in range(VIEWS):
        height, turn = 1 - 2 * (i + 0.5) / VIEWS, i * math.pi * (1 + 5**0.5)
        flat = math.sqrt(1 - height**2)
        back = np.array([flat * math.cos(turn), flat * math.sin(turn), height])
        pose = pose_along(middle + DISTANCE * radius * back, -back, any_across(back))
        cameras.append(Camera(pose, K, PIXELS, PIXELS))
    return cameras


def draw(gaussians: Gaussians, cameras: list[Camera]) -> np.ndarray:
    """Pictures over black [V, H, W, 3], with values from 0 to 1."""
    images = [render_colours(gaussians, camera).values.numpy() for camera in cameras]
    return np.clip(np.stack(images)[..., :3], 0, 1)


def psnr(wanted: np.ndarray, found: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all pictures, in dB."""
    return float(-10 * np.log10(((wanted - found) ** 2).mean() + 1e-12))


def print_table(record: dict[str, Any]) -> None:
    """Print the rows as Markdown tables."""
    for name, rows in record["splats"].items():
        print(f"\n*{name}*:\n")
        print("| format | written by |", " | ".join(HEADS.values()), "|")
        print("| --- " * (len(HEADS) + 2) + "|")
        for row in rows:
            cells = [shown(row.get(key), key) for key in HEADS]
            print(f"| {row['format']} | {row['writer']} |", " | ".join(cells), "|")
    machine = record["machine"]
    print(f"\n{record['date']}, {machine['cores']} cores of {machine['cpu']}.")


def shown(value: float | None, key: str) -> str:
    """A number with three digits; whole numbers as they are."""
    if value is None:
        return "-"
    if key == "gaussians":
        return str(value)
    return f"{value:.1f}" if key in ("psnr", "seconds") else f"{value:.2g}"


if __name__ == "__main__":
    with told_in_one_line():
        main()
