"""Readers of splats, ours and gsply's, against the program that defines or knows a format best.

    python benchmarks/splat_readers.py agreement dialects bombs speed

`agreement` writes random splats with several programs and prints the largest difference of each
reader's fields from splat-transform's decoding of the same file; `dialects` reads kinds of `.ply`
with gsply; `bombs` reads small files that unpack to 256 MB; `speed` times a million Gaussians.
Needs gsply with imagecodecs and zstandard, and the packages of `make node`; what is missing is left
out.
"""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from PIL import Image

from splat_uff.formats.compressed_ply import COLOURS, RANGES, read_compressed_ply
from splat_uff.formats.ksplat import read_ksplat
from splat_uff.formats.quantised import fields_of
from splat_uff.formats.records import empty_table
from splat_uff.formats.sog import read_sog
from splat_uff.formats.splat import read_splat
from splat_uff.formats.spz import read_spz
from splat_uff.system.errors import told_in_one_line

ROOT = Path(__file__).resolve().parents[1]
NODE = ROOT / "tests" / "node"
PROGRAM = NODE / "node_modules" / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
REST = (0, 9, 24, 45)
MILLION = 1_000_000
Part = Literal["agreement", "dialects", "bombs", "speed"]


def main(parts: Annotated[tuple[Part, ...], tyro.conf.Positional] = ("speed",)) -> None:
    """Print the tables.

    Args:
        parts: Tables to print.
    """
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for part in parts:
            print(f"\n{part}\n", flush=True)
            globals()[f"compare_{part}"](Path(folder))


def random_splats(count: int, degree: int, seed: int = 0) -> np.ndarray:
    """Gaussians in a cube of 2; the first two are fully transparent and opaque, and bright."""
    rng = np.random.default_rng(seed)
    table = empty_table(count, REST[degree])
    fields = fields_of(table)
    fields.centres[:] = rng.uniform(-1, 1, (count, 3))
    fields.opacity_logits[:] = rng.uniform(-4, 4, count)
    fields.opacity_logits[:2] = -30, 30
    fields.dc[:] = rng.uniform(-1.5, 1.5, (count, 3))
    fields.rest[:] = rng.uniform(-0.9, 0.9, fields.rest.shape)
    fields.rest[:2] = np.reshape([-5, 5], (2, 1, 1))
    fields.log_scales[:] = rng.uniform(-6, -1, (count, 3))
    quats = rng.normal(size=(count, 4))
    fields.quats[:] = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    return table


def write_3dgs(path: Path, table: np.ndarray) -> Path:
    """Write float32 columns as a 3DGS `.ply`."""
    columns = "".join(f"property float {name}\n" for name in table.dtype.names or ())
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{columns}"
    path.write_bytes(f"{header}end_header\n".encode() + table.tobytes())
    return path


def read_3dgs(path: Path) -> np.ndarray:
    """Read what splat-transform wrote."""
    head, _, rows = path.read_bytes().partition(b"end_header\n")
    names = [line.split()[2] for line in head.decode().splitlines() if line.startswith("property")]
    found = np.frombuffer(rows, [(name, "<f4") for name in names])
    table = empty_table(len(found), sum(name.startswith("f_rest") for name in names))
    for name in table.dtype.names or ():
        table[name] = found[name]
    return table


def transform(*arguments: object) -> None:
    """Run splat-transform."""
    command = ["node", str(PROGRAM), "-w", "-g", "cpu", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr).strip().splitlines()[-1])


def of_gsply(data) -> np.ndarray:
    """Columns of what gsply read."""
    rest = 0 if data.shN is None else data.shN.shape[1] * 3
    table = empty_table(len(data.means), rest)
    fields = fields_of(table)
    fields.centres[:] = data.means
    fields.opacity_logits[:] = data.opacities.reshape(-1)
    fields.dc[:] = data.sh0.reshape(-1, 3)
    fields.log_scales[:], fields.quats[:] = data.scales, data.quats
    if data.shN is not None:
        fields.rest[:] = data.shN.transpose(0, 2, 1)
    return table


def gsply_data(table: np.ndarray):
    """Columns as gsply takes them."""
    import gsply

    fields = fields_of(table)
    harmonics = fields.rest.transpose(0, 2, 1).copy() if fields.rest.size else None
    return gsply.GSData.from_arrays(
        *(fields.centres, fields.log_scales, fields.quats, fields.opacity_logits, fields.dc),
        harmonics,
        format="ply",
    )


def written(folder: Path) -> dict[str, Callable[[Path, Path, np.ndarray], object]]:
    """Writers by file name: each gets a path to write, the `.ply`, and its table."""

    def gsplat(path: Path, kind: str, table: np.ndarray) -> None:
        import torch
        from gsplat import export_splats

        fields = fields_of(table)
        arrays = {
            "means": fields.centres, "scales": fields.log_scales, "quats": fields.quats,
            "opacities": fields.opacity_logits, "sh0": fields.dc[:, None],
            "shN": fields.rest.transpose(0, 2, 1),
        }  # fmt: skip
        tensors = {name: torch.from_numpy(values.copy()) for name, values in arrays.items()}
        export_splats(**tensors, format=kind, save_to=str(path))  # pyright: ignore

    def ksplat(path: Path, ply: Path, level: int) -> None:
        command = ["node", str(NODE / "ksplat.mjs"), ply, path, level, 2, 0.5, 8]
        subprocess.run([str(each) for each in command], capture_output=True, check=True)

    def gsply_write(path: Path, table: np.ndarray, **options) -> None:
        import gsply

        gsply.plywrite(str(path), gsply_data(table), **options)

    def gsply_spz(path: Path, table: np.ndarray, version: int) -> None:
        import gsply

        gsply.write_spz(path, gsply_data(table), version=version)

    def spz(path: Path, ply: Path, version: int) -> None:
        transform(ply, "--spz-version", version, path)

    return {
        "splat-transform.compressed.ply": lambda path, ply, table: transform(ply, path),
        "gsplat.compressed.ply": lambda path, ply, table: gsplat(path, "ply_compressed", table),
        "gsply.compressed.ply": lambda p, ply, table: gsply_write(p, table, compressed=True),
        "by-hand-12-ranges.compressed.ply": lambda path, ply, table: without_colours(path, ply),
        "splat-transform.sog": lambda path, ply, table: transform(ply, path),
        "splat-transform-3.spz": lambda path, ply, table: spz(path, ply, 3),
        "splat-transform-4.spz": lambda path, ply, table: spz(path, ply, 4),
        "gsply-3.spz": lambda path, ply, table: gsply_spz(path, table, 3),
        "gsply-4.spz": lambda path, ply, table: gsply_spz(path, table, 4),
        "by-hand-1.spz": lambda path, ply, table: path.write_bytes(old_spz(table, 1)),
        "by-hand-2.spz": lambda path, ply, table: path.write_bytes(old_spz(table, 2)),
        "gsplat.splat": lambda path, ply, table: gsplat(path, "splat", table),
        **{
            f"GaussianSplats3D-{level}.ksplat": lambda path, ply, table, level=level: ksplat(
                path, ply, level
            )
            for level in range(3)
        },
    }


def without_colours(path: Path, ply: Path) -> None:
    """Write a compressed `.ply` without ranges of colours, as the first ones were."""
    transform(ply, path)
    head, end, rows = path.read_bytes().partition(b"end_header\n")
    lines = head.decode().splitlines()
    count = int(next(line for line in lines if line.startswith("element chunk")).split()[2])
    ranges = np.frombuffer(rows, "<f4", 18 * count).reshape(count, 18)[:, :12]
    kept = [line for line in lines if line.split()[-1] not in COLOURS]
    path.write_bytes("\n".join([*kept, ""]).encode() + end + ranges.tobytes() + rows[72 * count :])


def old_spz(table: np.ndarray, version: int) -> bytes:
    """An `.spz` of version 1 or 2 with random bytes behind its centres."""
    fields = fields_of(table)
    rng = np.random.default_rng(0)
    count, rest = len(table), fields.rest[0].size
    centres = fields.centres.astype("<f2").tobytes()
    if version == 2:
        fixed = np.round(fields.centres * 4096).astype("<i4").reshape(-1, 1)
        centres = fixed.view("u1")[:, :3].tobytes()
    head = struct.pack("<4s2I4B", b"NGSP", version, count, 2, 12, 1, 0)
    others = rng.integers(0, 256, count * (10 + rest), np.uint8).tobytes()
    return gzip.compress(head + centres + others)


def readers(path: Path) -> dict[str, Callable[[], np.ndarray]]:
    """Ours and gsply's reader for a file."""

    def gsply_reads() -> np.ndarray:
        import gsply
        from gsply.spz import read_spz as read_gsply_spz

        reads = {".ply": gsply.plyread, ".sog": gsply.sogread, ".spz": read_gsply_spz}
        return of_gsply(reads[path.suffix](str(path)))

    ours = {
        ".ply": read_compressed_ply, ".sog": read_sog, ".spz": read_spz, ".splat": read_splat,
        ".ksplat": read_ksplat,
    }[path.suffix]  # fmt: skip
    both: dict[str, Callable[[], np.ndarray]] = {"ours": lambda: ours(path).table}
    return both | ({"gsply": gsply_reads} if path.suffix in (".ply", ".sog", ".spz") else {})


def compare_agreement(folder: Path) -> None:
    """Print the largest differences from splat-transform's decoding, by file, reader and field."""
    table = random_splats(2000, 2)
    ply = write_3dgs(folder / "a.ply", table)
    print("| file | reader | centre | opacity | colour | harmonics | log scale | rotation |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, write in written(folder).items():
        path = folder / name
        try:
            write(path, ply, table)
            if not path.exists():  # gsply adds an ending of its own.
                max(folder.glob("*"), key=os.path.getmtime).rename(path)
            transform(path, folder / "judged.ply")
        except (ImportError, OSError, RuntimeError, subprocess.CalledProcessError) as error:
            print(f"| {name} | left out: {error} |")
            continue
        judged = read_3dgs(folder / "judged.ply")
        for reader, read in readers(path).items():
            try:
                print(f"| {name} | {reader} | {' | '.join(differences(read(), judged))} |")
            except Exception as error:  # Whatever a reader makes of a file is a result.
                print(f"| {name} | {reader} | {type(error).__name__}: {str(error)[:70]} |")


def differences(read: np.ndarray, judged: np.ndarray) -> list[str]:
    """Largest difference of each field: opacities after the sigmoid, rotations up to sign."""
    if read.dtype != judged.dtype or len(read) != len(judged):
        return [f"{len(read)} rows of {len(read.dtype.names or ())} columns"]
    a, b = fields_of(read), fields_of(judged)
    with np.errstate(over="ignore"):
        alphas = [1 / (1 + np.exp(-each.opacity_logits.astype(float))) for each in (a, b)]
    signs = np.where(np.einsum("ni,ni->n", a.quats, b.quats) < 0, -1, 1)[:, None]
    pairs = [
        *((a.centres, b.centres), (alphas[0], alphas[1]), (a.dc, b.dc)),
        *((a.rest, b.rest), (a.log_scales, b.log_scales), (a.quats, signs * b.quats)),
    ]
    return [f"{np.abs(x - y).max() if x.size else 0:.1g}" for x, y in pairs]


def dialects() -> dict[str, bytes]:
    """Kinds of a 3DGS `.ply`, all valid."""
    table = random_splats(100, 0)
    names = list(table.dtype.names or ())

    def ply(rows: np.ndarray, form: str = "binary_little_endian", before: str = "") -> bytes:
        kinds = {"f4": "float", "f8": "double", "u1": "uchar"}
        columns = "".join(
            f"property {kinds[rows.dtype[name].str[1:]]} {name}\n"
            for name in rows.dtype.names or ()
        )
        head = f"ply\nformat {form} 1.0\n{before}element vertex {len(rows)}\n{columns}end_header\n"
        if form == "ascii":
            body = "".join(" ".join(map(str, row)) + "\n" for row in rows.tolist()).encode()
        else:
            order = ">" if "big" in form else "<"
            body = rows.astype(rows.dtype.newbyteorder(order)).tobytes()
        return head.encode() + body

    def typed(kinds: dict[str, str], order: list[str] = names) -> np.ndarray:
        rows = np.zeros(len(table), [(name, kinds.get(name, "<f4")) for name in order])
        for name in names:
            rows[name] = table[name]
        return rows

    normals = [*names[:3], "nx", "ny", "nz", *names[4:7], "opacity", *names[7:]]
    return {
        "as 3DGS writes it, with normals": ply(typed({}, normals)),
        "other order, no normals": ply(table),
        "big-endian": ply(typed({}, normals), "binary_big_endian"),
        "ASCII": ply(typed({}, normals), "ascii"),
        "comments": ply(typed({}, normals), before="comment one\ncomment two\n"),
        "unknown column": ply(typed({}, [*normals, "label"])),
        "unknown column of 8 bits": ply(typed({"label": "u1"}, [*normals, "label"])),
        "float64 centres": ply(typed(dict.fromkeys("xyz", "<f8"), normals)),
    }


def compare_dialects(folder: Path) -> None:
    """Print what gsply's `plyread` makes of kinds of `.ply`."""
    import gsply

    expected = random_splats(100, 0)
    print("| `.ply` | gsply |\n| --- | --- |")
    for name, content in dialects().items():
        path = folder / "dialect.ply"
        path.write_bytes(content)
        try:
            far = differences(of_gsply(gsply.plyread(str(path))), expected)
            said = "right" if all(float(each) < 1e-6 for each in far) else f"wrong by {far}"
        except Exception as error:  # Whatever it makes of a file is a result.
            said = f"{type(error).__name__}: {str(error).replace(str(path), 'FILE')[:90]}"
        print(f"| {name} | {said} |")


def compare_bombs(folder: Path) -> None:
    """Print the peak memory for small files that unpack to 256 MB."""
    zeros = bytes(1 << 28)
    bombs = {"bomb-3.spz": gzip.compress(struct.pack("<4s2I4B", b"NGSP", 3, 1, 0, 8, 0, 0) + zeros)}
    try:
        import zstandard

        sizes = (9, 1, 3, 3, 4)
        packed = [zstandard.compress(zeros), *(zstandard.compress(bytes(n)) for n in sizes[1:])]
        listed = b"".join(struct.pack("<2Q", len(p), n) for p, n in zip(packed, sizes, strict=True))
        head = struct.pack("<4s2I4BI12x", b"NGSP", 4, 1, 0, 8, 0, 5, 32)
        bombs["bomb-4.spz"] = head + listed + b"".join(packed)
    except ImportError:
        print("zstandard is missing; version 4 is left out.")
    print("| file | bytes | reader | peak MB | outcome |\n| --- | --- | --- | --- | --- |")
    for name, content in bombs.items():
        path = folder / name
        path.write_bytes(content)
        for reader, read in readers(path).items():
            tracemalloc.start()
            try:
                said = f"{len(read())} Gaussians"
            except Exception as error:  # Whatever a reader makes of a bomb is a result.
                said = f"{type(error).__name__}: {str(error).replace(str(path), 'FILE')[:80]}"
            peak = tracemalloc.get_traced_memory()[1] / 1e6
            tracemalloc.stop()
            print(f"| {name} | {len(content)} | {reader} | {peak:.0f} | {said} |")


def compare_speed(folder: Path) -> None:
    """Print seconds and peak memory for a million Gaussians of each format and degree."""
    print("| file | MB | seconds | peak MB | MB of the table |\n| --- | --- | --- | --- | --- |")
    for name, content in large_files().items():
        path = folder / name
        path.write_bytes(content)
        del content
        read = readers(path)["ours"]
        begun = time.perf_counter()
        table = read()
        seconds = time.perf_counter() - begun
        size = table.nbytes / 1e6
        del table
        tracemalloc.start()
        read()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        megabytes = path.stat().st_size / 1e6
        print(f"| {name} | {megabytes:.0f} | {seconds:.2f} | {peak:.0f} | {size:.0f} |", flush=True)
        path.unlink()


def large_files() -> dict[str, bytes]:
    """A million Gaussians of each format, of random bits."""
    rng = np.random.default_rng(0)
    files = {"degree-0.splat": rng.bytes(32 * MILLION)}
    head = struct.pack("<4s2I4B", b"NGSP", 3, MILLION, 3, 12, 0, 0)
    files["degree-3.spz"] = gzip.compress(head + rng.bytes(65 * MILLION), 1)
    chunks = -(-MILLION // 256)
    lines = [
        *("ply", "format binary_little_endian 1.0", f"element chunk {chunks}"),
        *(f"property float {name}" for name in RANGES + COLOURS),
        f"element vertex {MILLION}",
        *(f"property uint packed_{name}" for name in ("position", "rotation", "scale", "color")),
        f"element sh {MILLION}",
        *(f"property uchar f_rest_{i}" for i in range(45)),
        "end_header\n",
    ]
    ranges = rng.normal(size=(chunks, 18)).astype("<f4").tobytes()
    files["degree-3.compressed.ply"] = "\n".join(lines).encode() + ranges + rng.bytes(61 * MILLION)
    section = struct.pack(
        "<4IfHxxIxxxxIIH", MILLION, MILLION, 256, chunks, 5.0, 12, 32767, chunks - 1, 1, 2
    )
    start = struct.pack("<BBxx4IH", 0, 1, 1, 1, MILLION, MILLION, 1)
    buckets = struct.pack("<I", MILLION - 256 * (chunks - 1)) + bytes(12 * chunks)
    rows = rng.integers(0, 0x3C00, (MILLION, 36), np.uint16).astype("<u2").tobytes()
    files["degree-2.ksplat"] = (
        start.ljust(4096, b"\0") + section.ljust(1024, b"\0") + buckets + rows
    )
    files["degree-3.sog"] = large_sog(rng)
    return files


def large_sog(rng: np.random.Generator) -> bytes:
    """A SOG of random pixels and a palette of 65536."""
    archive = io.BytesIO()
    table = np.linspace(-2, 2, 256).tolist()
    files = [f"{letter}.webp" for letter in "luqscpi"]
    with zipfile.ZipFile(archive, "w") as to:
        for name in files:
            size = (1024, 960) if name == "p.webp" else (1000, 1000)
            pixels = rng.integers(0, 256, (*size, 4), np.uint8)
            pixels[..., 3] = rng.integers(252, 256, size) if name == "q.webp" else 255
            image = io.BytesIO()
            Image.fromarray(pixels).save(image, "WEBP", lossless=True, exact=True, quality=0)
            to.writestr(name, image.getvalue())
        means = {"files": files[:2], "mins": [-2, -2, -2], "maxs": [2, 2, 2]}
        coded = [{"files": [name], "codebook": table} for name in files[3:5]]
        shn = {"files": files[5:], "codebook": table, "count": 65536, "bands": 3}
        meta = {
            "version": 2, "count": MILLION, "means": means, "quats": {"files": files[2:3]},
            "scales": coded[0], "sh0": coded[1], "shN": shn,
        }  # fmt: skip
        to.writestr("meta.json", json.dumps(meta))
    return archive.getvalue()


if __name__ == "__main__":
    with told_in_one_line():
        sys.exit(tyro.cli(main))
