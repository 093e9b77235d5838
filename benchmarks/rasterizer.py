"""Measure the CPU rasterizer: against the prototypes, against variants of itself, and at its size.

    python benchmarks/rasterizer.py targets --prototype DIR  # folder of splat.cpp and nb3.py
    python benchmarks/rasterizer.py variants                 # what each trick is worth
    python benchmarks/rasterizer.py size                     # a million; a second process

Each writes its part of benchmarks/rasterizer.json, from which `python tools/update_readme.py` fills
the tables of RASTERIZER.md. What is compared is timed in turns within one process.
"""

import argparse
import ctypes
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from splat_uff.bench import random_inputs, time_in_turns
from splat_uff.render import rasterization
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.files import write_json
from splat_uff.system.machine import describe_machine

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "rasterizer.json"
RENDER = ROOT / "splat_uff" / "render"
MODULES = ("lanes", "listing", "blending")
"""Files of the kernel, of which variants are made."""
CASES = ((200, 3), (200, 16), (400, 3), (400, 16))
"""Side of the image and channels."""
THREADS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("targets", "variants", "size"))
    parser.add_argument("--prototype", type=Path, help="folder of the prototypes, for targets")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    os.environ["KMP_BLOCKTIME"] = "0"  # Or clang's threads spin into the turns of the others.
    if options.part == "targets":
        if options.prototype is None:
            parser.error("targets needs --prototype DIR")
        rows = measure_targets(options.prototype)
    else:
        rows = measure_variants() if options.part == "variants" else measure_size()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    known[options.part] = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe_machine(),
        "rows": rows,
    }
    write_json(RESULTS, known)


def projected(size: int, channels: int) -> dict[str, np.ndarray]:
    """The benchmark's Gaussians as an image sees them, and gradients to pull back."""
    tensors = random_inputs(size, channels)
    *_, meta = rasterization(**tensors, width=size, height=size, packed=False)
    arrays = {name: meta[name][0].numpy() for name in ("means2d", "conics", "depths", "opacities")}
    rng = np.random.default_rng(0)
    return arrays | {
        "seen": (meta["radii"][0] > 0).all(1).numpy(),
        "values": tensors["colors"].numpy(),
        "v_image": rng.standard_normal((size, size, channels), np.float32),
        "v_alpha": rng.standard_normal((size, size), np.float32),
    }


def extents_of(given: dict[str, np.ndarray]) -> np.ndarray:
    """Half sizes of the boxes around the ellipses on which alpha is 1/255."""
    xx, xy, yy = given["conics"].astype(np.float64).T
    reach = 2 * np.log(255 * given["opacities"].clip(1 / 255)) / (xx * yy - xy * xy)
    extents = np.sqrt(np.stack([reach * yy, reach * xx], 1))
    return np.where(given["seen"][:, None], extents, 0).astype(np.float32)


# Against the prototypes.


def measure_targets(folder: Path) -> list[dict[str, object]]:
    """Our forward + backward with projection; the prototypes' without."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        libraries = {}
        for compiler in ("g++", "clang++"):
            library = Path(place) / f"{compiler}.so"
            flags = [
                "-std=c++17",
                "-O3",
                "-march=native",
                "-ffast-math",
                "-fopenmp",
                "-shared",
                "-fPIC",
                "-w",
            ]
            command = [compiler, *flags, str(folder / "splat.cpp"), "-o", str(library)]
            try:
                subprocess.run(command, check=True, capture_output=True)
            except (FileNotFoundError, subprocess.CalledProcessError):
                print(f"no prototype from {compiler}: it is not here, or does not compile it")
                continue
            libraries[f"C++ by {compiler}"] = ctypes.CDLL(str(library))
        sys.path.insert(0, str(folder))
        for size, channels in CASES:
            given = projected(size, channels)
            calls = {"ours": our_step(size, channels, given)}
            calls |= {name: cpp_step(lib, size, given) for name, lib in libraries.items()}
            calls["numba prototype"] = numba_step(size, given)
            times = time_in_turns(calls)
            rows.append({"size": size, "channels": channels, "ms": times})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def our_step(size: int, channels: int, given: dict[str, np.ndarray]) -> Callable[[], object]:
    """Forward and backward of `rasterization`, gradients to everything but the camera."""
    tensors = random_inputs(size, channels)
    leaves = {n: t.requires_grad_(n not in ("viewmats", "Ks")) for n, t in tensors.items()}
    gradients = [torch.from_numpy(given[name])[None] for name in ("v_image", "v_alpha")]
    gradients[1] = gradients[1][..., None]

    def call() -> None:
        outputs = rasterization(**leaves, width=size, height=size)[:2]
        torch.autograd.backward(outputs, gradients)
        for leaf in leaves.values():
            leaf.grad = None

    return call


def cpp_step(library: ctypes.CDLL, size: int, given: dict[str, np.ndarray]) -> Callable[[], object]:
    """Binning, forward and backward of the C++ prototype."""
    library.sp_bin.restype = ctypes.c_void_p
    shapes = [given[name] for name in ("means2d", "conics", "opacities")]
    values, count = given["values"], len(given["values"])
    seen = given["seen"].astype(np.uint8)
    image = np.empty((size, size, values.shape[1]), np.float32)
    trans = np.empty((size, size), np.float32)

    def pointer(array: np.ndarray) -> ctypes.c_void_p:
        return array.ctypes.data_as(ctypes.c_void_p)

    def call() -> None:
        handle = ctypes.c_void_p(
            library.sp_bin(size, size, count, *map(pointer, [*shapes, given["depths"], seen]))
        )
        common = handle, *map(pointer, [*shapes, values]), values.shape[1]
        library.sp_fwd(*common, pointer(image), pointer(trans), THREADS)
        columns = (2, 3, 1, values.shape[1], 2)
        gradients = [np.zeros((count, width), np.float32) for width in columns]
        pulled = [given["v_image"], given["v_alpha"], *gradients]
        library.sp_bwd(*common, *map(pointer, pulled), THREADS)
        library.sp_free(handle)

    return call


def numba_step(size: int, given: dict[str, np.ndarray]) -> Callable[[], object]:
    """Binning, forward and backward of the numba prototype."""
    nb, nb3 = importlib.import_module("nb"), importlib.import_module("nb3")
    shapes = [given[name] for name in ("means2d", "conics", "opacities")]

    def call() -> None:
        bins = nb.bin_(size, size, *shapes, given["depths"], given["seen"])
        extents, order, starts, tiles, entries, slots = bins
        nb3.fwd(size, size, *shapes, given["values"], extents, tiles, entries)
        pulled = given["values"], given["v_image"], given["v_alpha"]
        nb3.bwd(size, size, *shapes, *pulled, extents, order, starts, tiles, entries, slots)

    return call


# Variants of the kernel: what to write instead of what. A piece that is not there any more stops
# the benchmark.

EIGHT_LANES = [
    ("load16", "load8"), ("fill16", "fill8"),
    ("range(0, padded, 16)", "range(0, padded, 8)"), ("0xFFFF", "0xFF"),
]  # fmt: skip
EXP = '''

@intrinsic
def exponential(typingctx, lanes):
    """e to the power of every lane, by the compiler's own function."""

    def emit(context, builder, sig, args):
        kind = args[0].type
        name = f"llvm.exp.v{lanes.width}f32"
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind]), name
        )
        return builder.call(function, args)

    return signature(lanes, lanes), emit
'''
POLYNOMIAL = """        e = fused(fused(fused(fused(fused(E5, t, E4), t, E3), t, E2), t, E1), t, E0)
        e = e * e
        e = e * e
        seen = item(parameters, OPACITY * padded + k) * (e * e)
"""
DEALT = "tile = (turn % stretch) * threads + turn // stretch"
FREE = '"boundscheck": False'
FUSED = "return builder.call(function, [_broadcast(builder, arg, width) for arg in args])"
APART = """a, b, c = (_broadcast(builder, arg, width) for arg in args)
        return builder.fadd(builder.fmul(a, b), c)"""
VARIANTS: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "8 lanes, blocks of 4x2": (
        "slower on AVX2: half the work in flight",
        [("BLOCK_WIDTH, BLOCK_HEIGHT = 4, 4", "BLOCK_WIDTH, BLOCK_HEIGHT = 4, 2"), *EIGHT_LANES],
    ),
    "blocks of 8x2": (
        "slower: less square, so more of a block is missed",
        [("BLOCK_WIDTH, BLOCK_HEIGHT = 4, 4", "BLOCK_WIDTH, BLOCK_HEIGHT = 8, 2")],
    ),
    "no fused multiply-add": (
        "slower: a third more arithmetic",
        [(FUSED, APART)],
    ),
    "fusing left to the compiler": (
        "as fast, but not the same numbers after every compilation",
        [(FUSED, APART), (FREE, '"boundscheck": False, "fastmath": {"contract"}')],
    ),
    "all of fastmath": (
        "faster: more freedom for the compiler",
        [(FREE, '"boundscheck": False, "fastmath": True')],
    ),
    "the compiler's exp": (
        "much slower: one call a lane",
        [("\n@intrinsic\ndef magnitude(", EXP + "\n\n@intrinsic\ndef magnitude("),
         (POLYNOMIAL, "        e = exponential(_f(-8) * t)\n"
          "        seen = item(parameters, OPACITY * padded + k) * e\n"),
         ("    any_of,\n", "    any_of,\n    exponential,\n")],
    ),
    "no culling of blocks": (
        "slower: three in four blocks of a tile are missed",
        [("bits_of(outside)", "bits_of(ey < ZERO)")],
    ),
    "culling by the box": (
        "slower: a third more Gaussians to look at",
        [("leftmost = x - fused(half_width, _height_factor(at * per_reach), slope * at)",
          "leftmost = x - ex"),
         ("rightmost = x + fused(half_width, _height_factor(at * per_reach), -(slope * at))",
          "rightmost = x + ex")],
    ),
    "blocks culled anew in the backward pass": (
        "slower: the forward pass knows what each block blends",
        [("length, parameters)\n        shades",
          "length, parameters)\n        mark_reached(parameters, left, top, tile_size, words, "
          "word_starts[tile])\n        shades")],
    ),
    "negative quadratic forms let through": (
        "as fast, but needles of float32 would bloom",
        [("t = limited(fused(item(parameters, YY * padded + k) * dy, dy, t), EIGHTH_MAX)",
          "t = fused(item(parameters, YY * padded + k) * dy, dy, t)\n"
          "        t = select(t < EIGHTH_MAX, t, EIGHTH_MAX)")],
    ),
    "indices that may be negative": (
        "slower: three more instructions for each number",
        [("return builder.load(_element(context, builder, sig, args, _FLOAT))",
          "index = builder.select(builder.icmp_signed('<', args[1], ir.Constant(args[1].type, 0)), "
          "builder.add(args[1], builder.extract_value(args[0], 2)), args[1])\n"
          "        place = _element(context, builder, sig, (args[0], index), _FLOAT)\n"
          "        return builder.load(place)")],
    ),
    "tiles in one stretch a thread": (
        "as fast here, slower where the object is in one half of the image",
        [(DEALT, "tile = turn")],
    ),
    "helpers inlined by numba": (
        "as fast, compiles longer",
        [("@njit(**_options)\n@no_type_check\ndef list_hits(",
          '@njit(inline="always", **_options)\n@no_type_check\ndef list_hits(')],
    ),
}  # fmt: skip
TILE_SIZES = {"tiles of 8x8": 8, "tiles of 32x32": 32}


def measure_variants() -> list[dict[str, object]]:
    """Blending alone, forward and backward, as it is and otherwise."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        sys.path.insert(0, place)
        kernel = make_variant(Path(place), "kernel", [])
        for index, (name, (predicted, pieces)) in enumerate(VARIANTS.items()):
            changed = make_variant(Path(place), f"variant{index}", pieces)
            rows.append(compare(name, predicted, (kernel, 16), (changed, 16)))
        for name, tile_size in TILE_SIZES.items():
            rows.append(compare(name, "slower", (kernel, 16), (kernel, tile_size)))
    return rows


def make_variant(place: Path, name: str, pieces: list[tuple[str, str]]):
    """A copy of the kernel with pieces of its text replaced, imported."""
    folder = place / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    texts = {module: (RENDER / f"{module}.py").read_text(encoding="utf-8") for module in MODULES}
    for old, new in pieces:
        if not any(old in text for text in texts.values()):
            raise SystemExit(f"{name}: the kernel no longer holds {old!r}")
        texts = {module: text.replace(old, new) for module, text in texts.items()}
    for module, text in texts.items():
        for other in MODULES:
            text = text.replace(f"splat_uff.render.{other}", f"{name}.{other}")
        (folder / f"{module}.py").write_text(text, encoding="utf-8")
    importlib.invalidate_caches()
    return importlib.import_module(f"{name}.blending")


def compare(name: str, predicted: str, one, two) -> dict[str, object]:
    """Times of two kernels in turns, the second as a multiple of the first."""
    ratios = {}
    for size, channels in ((200, 3), (200, 16), (400, 16)):
        given = projected(size, channels)
        calls = {"kernel": blending_step(*one, size, given)}
        calls["variant"] = blending_step(*two, size, given)
        times = time_in_turns(calls)
        ratios[f"{size}x{size}, {channels}"] = round(times["variant"] / times["kernel"], 3)
    row = {"name": name, "predicted": predicted, "ratios": ratios}
    print(json.dumps(row), flush=True)
    return row


def blending_step(module, tile_size: int, size: int, given) -> Callable[[], object]:
    """Forward and backward of one blending module, binning excluded."""
    from splat_uff.render.tiles import bin_into_tiles

    extents, values = extents_of(given), given["values"]
    bins = bin_into_tiles(
        given["means2d"], extents, given["depths"], size, size, tile_size, THREADS
    )
    listing = importlib.import_module(module.__name__.replace("blending", "listing"))
    room = listing.room_for_bits(bins[0], tile_size)
    shapes = given["means2d"], given["conics"], given["opacities"], extents, values
    rows = np.arange(len(values), dtype=np.int32)
    image, alphas = np.empty_like(given["v_image"]), np.empty_like(given["v_alpha"])

    def call() -> None:
        module.blend_forward(*shapes, rows, *bins[:2], *room, tile_size, image, alphas, THREADS)
        pulled = given["v_image"], given["v_alpha"], False, np.zeros_like(values)
        module.blend_backward(*shapes, rows, *bins, *room, tile_size, *pulled, THREADS)

    return call


# Size: each in a process of its own.

MILLION = """
import json, time, torch
from splat_uff.system.portable import peak_memory
from splat_uff.bench import random_inputs
from splat_uff.render import rasterization
torch.set_num_threads(2)
tensors = random_inputs(800, 3, count=1_000_000)
before = (peak_memory() or 0) * 1e9 / 2**30
with torch.no_grad():
    rasterization(**random_inputs(32, 3, count=10), width=32, height=32)
    start = time.perf_counter()
    rasterization(**tensors, width=800, height=800)
    seconds = time.perf_counter() - start
peak = (peak_memory() or 0) * 1e9 / 2**30
print(json.dumps({"seconds": seconds, "GB before": before, "GB at most": peak}))
"""
SECOND = """
import json, time
start = time.perf_counter()
import torch, numba
libraries = time.perf_counter() - start
from splat_uff.bench import random_inputs
from splat_uff.render import rasterization
imports = time.perf_counter() - start
tensors = {n: t.requires_grad_(n != "Ks") for n, t in random_inputs(64, 3, count=100).items()}
image, alphas, _ = rasterization(**tensors, width=64, height=64)
(image.sum() + alphas.sum()).backward()
total = time.perf_counter() - start
print(json.dumps({"libraries": libraries, "imports": imports, "total": total}))
"""


def measure_size() -> list[dict[str, object]]:
    """A million Gaussians at 800x800, forward; and what a second process spends before it draws."""
    for script in (MILLION, SECOND):  # So that the kernels are compiled.
        run(script)
    million = [run(MILLION) for _ in range(3)]
    second = [run(SECOND) for _ in range(3)]
    return [{name: median(runs) for name, runs in (("million", million), ("second", second))}]


def run(script: str) -> dict[str, float]:
    """What a script prints, run in a process of its own."""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, encoding="utf-8", cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: round(float(np.median([run[name] for run in runs])), 3) for name in runs[0]}


if __name__ == "__main__":
    with told_in_one_line():
        main()
