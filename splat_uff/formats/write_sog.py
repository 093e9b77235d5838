"""Writing `.sog`, PlayCanvas' format of images for splats on the web."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from splat_uff.formats.codebooks import codebook_of, nearest_in, palette_of
from splat_uff.formats.packing import (
    Packable,
    morton_order,
    packable,
    smallest_three,
    to_bytes,
)
from splat_uff.system.files import replacing

MOST_PALETTE = 1 << 16
MOST_REST_SIZE = np.float32(1e6)
"""Size to which higher harmonics are clipped, far beyond any colour, so that squares stay exact."""
PALETTE_COLUMNS = 64
"""Rows of the palette in a line of its image."""
LARGEST_FIRST = 252
"""Fourth channel of a rotation whose largest component is the first, w."""
MODIFIED = (1980, 1, 1, 0, 0, 0)
"""Time that the archive gives for its files, so that equal splats are equal files."""


def write_sog(path: Path, table: np.ndarray, *, antialiased: bool = False) -> None:
    """Write a `.sog`: every row, in another order.

    The layout is version 2 of https://developer.playcanvas.com/user-manual/gaussian-splatting/
    formats/sog, a zip of lossless WebP images with a pixel for each Gaussian. Rows are sorted along
    a Z-shaped curve. Centres have 16 bits of sign(x) log(1 + |x|) between the least and greatest;
    logarithms of scales, and f_dc, are one of 256 numbers chosen for the file; opacities have steps
    of 1/255, and quaternions 8 bits for each of the smallest three components. Higher harmonics are
    one of up to 65536 rows, a power of two of at most as many as there are Gaussians, in which each
    number is one of 256.

    Args:
        path: File to write.
        table: Columns of `needed_columns` [N], finite, in the frame of a 3DGS `.ply`.
        antialiased: Whether the file says that the splats were fitted with antialiasing.

    Raises:
        InputError: If a column is missing or a number cannot be written.
    """
    columns = packable(table)
    columns = columns.ordered(morton_order(columns.centres))
    images: dict[str, UInt8[np.ndarray, "H W C"]] = {}
    meta: dict[str, Any] = {
        "version": 2,
        "asset": {"generator": "splat-uff"},
        "count": len(columns),
        "antialias": antialiased,
        "means": _centres(columns.centres, images),
        "scales": _scales(columns.log_scales, images),
        "quats": _rotations(columns.quats, images),
        "sh0": _colours(columns, images),
    }
    if columns.rest.size:
        meta["shN"] = _harmonics(columns.rest, images)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        content = json.dumps(meta, allow_nan=False).encode()
        archive.writestr(zipfile.ZipInfo("meta.json", MODIFIED), content)
        for name, pixels in images.items():
            archive.writestr(zipfile.ZipInfo(name, MODIFIED), _webp(pixels))


def _centres(centres: Float[np.ndarray, "N 3"], images: dict[str, np.ndarray]) -> dict[str, Any]:
    logs = np.sign(centres) * np.log1p(np.abs(centres))
    low, high = logs.min(axis=0), logs.max(axis=0)
    spans = np.where(high > low, high - low, 1)
    numbers = np.rint(65535 * (logs - low) / spans).astype(np.uint16)
    images["means_l.webp"] = _on_grid((numbers & 255).astype(np.uint8))
    images["means_u.webp"] = _on_grid((numbers >> 8).astype(np.uint8))
    files = ["means_l.webp", "means_u.webp"]
    return {"mins": low.tolist(), "maxs": high.tolist(), "files": files}


def _scales(log_scales: Float[np.ndarray, "N 3"], images: dict[str, np.ndarray]) -> dict[str, Any]:
    book = codebook_of(log_scales.reshape(-1))
    images["scales.webp"] = _on_grid(nearest_in(book, log_scales))
    return {"codebook": book.tolist(), "files": ["scales.webp"]}


def _rotations(quats: Float[np.ndarray, "N 4"], images: dict[str, np.ndarray]) -> dict[str, Any]:
    largest, others = smallest_three(quats)
    sizes = to_bytes(255 * (others * np.sqrt(0.5) + 0.5))
    tags = (LARGEST_FIRST + largest).astype(np.uint8)
    images["quats.webp"] = _on_grid(np.concatenate([sizes, tags[:, None]], axis=1))
    return {"files": ["quats.webp"]}


def _colours(columns: Packable, images: dict[str, np.ndarray]) -> dict[str, Any]:
    book = codebook_of(columns.dc.reshape(-1))
    alphas = to_bytes(255 * columns.alphas)
    pixels = np.concatenate([nearest_in(book, columns.dc), alphas[:, None]], axis=1)
    images["sh0.webp"] = _on_grid(pixels)
    return {"codebook": book.tolist(), "files": ["sh0.webp"]}


def _harmonics(rest: Float[np.ndarray, "N K 3"], images: dict[str, np.ndarray]) -> dict[str, Any]:
    count, each = rest.shape[:2]
    size = min(1 << (count.bit_length() - 1), MOST_PALETTE)
    rows = np.clip(rest.reshape(count, -1), -MOST_REST_SIZE, MOST_REST_SIZE)
    palette, labels = palette_of(rows, size)
    book = codebook_of(palette.reshape(-1))
    lines = -(-len(palette) // PALETTE_COLUMNS)
    pixels = np.zeros((lines * PALETTE_COLUMNS, each, 3), np.uint8)
    pixels[: len(palette)] = nearest_in(book, palette).reshape(-1, each, 3)
    images["shN_centroids.webp"] = pixels.reshape(lines, PALETTE_COLUMNS * each, 3)
    halves = np.stack([labels & 255, labels >> 8, 0 * labels], axis=1)
    images["shN_labels.webp"] = _on_grid(halves.astype(np.uint8))
    return {
        "count": len(palette),
        "bands": [0, 3, 8, 15].index(each),
        "codebook": book.tolist(),
        "files": ["shN_centroids.webp", "shN_labels.webp"],
    }


def _on_grid(pixels: UInt8[np.ndarray, "N C"]) -> UInt8[np.ndarray, "H W C"]:
    """Lay pixels out line by line on a nearly square image whose sides are multiples of 4."""
    width = 4 * int(np.ceil(np.sqrt(len(pixels)) / 4))
    height = 4 * -(-len(pixels) // (4 * width))
    grid = np.zeros((height * width, pixels.shape[1]), np.uint8)
    grid[: len(pixels)] = pixels
    return grid.reshape(height, width, -1)


def _webp(pixels: UInt8[np.ndarray, "H W C"]) -> bytes:
    """Compress losslessly, colours of transparent pixels included."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, quality=75, method=2, exact=True)
    return file.getvalue()
