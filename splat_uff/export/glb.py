"""Gaussians as binary glTF 2.0, with segments as feature ids.

The Gaussians are one primitive of the extension KHR_gaussian_splatting (Khronos 2026,
https://github.com/KhronosGroup/glTF/tree/main/extensions/2.0/Khronos/KHR_gaussian_splatting) with
its kernel `ellipse`. Programs that do not know it show their centres as coloured points. The
container is that of glTF 2.0 (https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html).
"""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from splat_uff import __version__
from splat_uff.export.node_table import (
    FEATURES,
    METADATA,
    MOST_NODES,
    Cut,
    check_cuts,
    describe_table,
    feature_rows,
    prune_nodes,
    table_columns,
)
from splat_uff.gaussians.ply import gaussians_of
from splat_uff.gaussians.precision import NO_ORIGIN
from splat_uff.gaussians.turn import turn_gaussians
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL
from splat_uff.render.harmonics import C0
from splat_uff.render.records import Gaussians
from splat_uff.system.errors import InputError
from splat_uff.system.files import replacing
from splat_uff.system.records import array_record

SPLATTING = "KHR_gaussian_splatting"
MOST_BYTES = 2**32 - 1
"""Size of the largest `.glb`, whose header has 32 bits for it."""
ALIGNMENT = 8
"""Bytes to which chunks and buffer views are aligned, as 64-bit columns of tables require."""
UPRIGHT = OPENCV_FROM_OPENGL[:3, :3]
"""Rotation from axes as those of an OpenCV camera (y down) to those of glTF (y up)."""
_ARRAY_BUFFER = 34962
_FLOAT, _UNSIGNED_SHORT = 5126, 5123
_SHAPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}


def write_glb(
    path: Path,
    table: np.ndarray,
    *,
    cuts: Sequence[Cut] = (),
    nodes: Sequence[Mapping[str, Any]] = (),
    colours: Float[np.ndarray, "T 3"] | None = None,
    origin: Float[np.ndarray, "3"] = NO_ORIGIN,
) -> None:
    """Write Gaussians, in the given order, to a `.glb`.

    They are turned from y down, as in captures of COLMAP, to glTF's y up: centres, rotations and
    harmonics alike, so that nothing depends on what a viewer does to harmonics if a node has a
    matrix. The matrix from the table's frame to that of the file is `asset.extras.gltf_from_source`
    in the file, row by row.

    Args:
        path: File to write.
        table: Structured array [N] with the columns of a 3DGS `.ply`; every row can be drawn.
        cuts: Up to four cuts; the attribute `_FEATURE_ID_i` has the row of each Gaussian's segment
            in cut i.
        nodes: Nodes of the tree, from `describe_tree`; those of `prune_nodes` are the rows.
        colours: sRGB colours in [0, 1] of all nodes of the tree, by node, if they have any.
        origin: Origin that is subtracted from the centres before they become 32-bit numbers.

    Raises:
        InputError: If there are no Gaussians or too many for the format, the cuts do not fit
            together or to the nodes.
    """
    if not len(table):
        raise InputError(f"there are no Gaussians to write to {path}; choose a part that has some.")
    check_cuts(cuts, len(table))
    gaussians = gaussians_of(table)
    floats = 3 + 4 + 3 + 1 + 3 * (gaussians.sh_degree + 1) ** 2 + len(cuts)
    _check_size(path, (4 * floats + 8) * len(gaussians))  # Before there is a second copy.
    means = gaussians.means.double() - torch.from_numpy(np.array(origin, np.float64))
    content = _Content()
    content.add_primitive(turn_gaussians(gaussians.moved(means), UPRIGHT))
    if cuts:
        content.add_features(prune_nodes(nodes, cuts), cuts, colours)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = UPRIGHT, -UPRIGHT @ origin
    head = content.head(matrix)
    _check_size(path, len(head) + content.length)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(head)
        for array in content.arrays:
            file.write(array.tobytes() + bytes(_padding(array.nbytes)))


def _check_size(path: Path, total: int) -> None:
    """Refuse more bytes than the format can hold."""
    if total > MOST_BYTES:
        raise InputError(
            f"{path} would take {total / 1e9:.1f} GB, and a .glb holds 4.29 GB at most; write "
            "parts, or another format."
        )


@array_record
class _Content:
    """A glTF file in the making: its JSON, and the arrays that its buffer views refer to."""

    arrays: list[np.ndarray] = field(default_factory=list)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)
    primitive: dict[str, Any] = field(default_factory=dict)
    extensions: dict[str, Any] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)

    @property
    def length(self) -> int:
        """Number of bytes of all arrays so far, each aligned."""
        return sum(each.nbytes + _padding(each.nbytes) for each in self.arrays)

    def add_primitive(self, gaussians: Gaussians) -> None:
        """Add the Gaussians, which are in the frame of the file."""
        values = _attributes(gaussians)
        attributes = {name: self._add_attribute(each) for name, each in values.items()}
        means = values["POSITION"]
        self.accessors[attributes["POSITION"]] |= {
            "min": means.min(axis=0).tolist(),
            "max": means.max(axis=0).tolist(),
        }
        described = {
            "kernel": "ellipse",
            "colorSpace": "srgb_rec709_display",
            "projection": "perspective",
            "sortingMethod": "cameraDistance",
        }
        extensions = {SPLATTING: described}
        self.primitive.update(attributes=attributes, mode=0, extensions=extensions)
        self.used.append(SPLATTING)

    def add_features(
        self,
        rows: Sequence[Mapping[str, Any]],
        cuts: Sequence[Cut],
        colours: Float[np.ndarray, "T 3"] | None,
    ) -> None:
        """Add feature ids of cuts, and the table of nodes that they point into."""
        if len(rows) > MOST_NODES:
            raise InputError(
                f"the cuts have {len(rows)} nodes, and a .glb counts 16 million at most; pass "
                "coarser cuts."
            )
        described = []
        for i, cut in enumerate(cuts):
            ids, segments, kind = feature_rows(rows, cut)
            # A short in 4 bytes: each vertex must start at a multiple of 4.
            stored = ids.astype("<u4" if kind == _UNSIGNED_SHORT else "<f4")
            added = self._add_attribute(stored[:, None], kind)
            self.primitive["attributes"][f"_FEATURE_ID_{i}"] = added
            described.append(
                {"featureCount": segments, "attribute": i, "label": cut.label, "propertyTable": 0}
            )
        columns = table_columns(rows, colours)
        views = {name: [self._add_view(each) for each in columns[name]] for name in columns}
        self.primitive["extensions"][FEATURES] = {"featureIds": described}
        self.extensions[METADATA] = describe_table(len(rows), views)
        self.used.extend([FEATURES, METADATA])

    def head(self, matrix: Float[np.ndarray, "4 4"]) -> bytes:
        """Bytes of the file in front of the arrays, for the matrix from the table's frame."""
        text = json.dumps(self._document(matrix), ensure_ascii=False, allow_nan=False).encode()
        text += b" " * _padding(20 + len(text))  # The arrays start at 28 + len(text).
        total = 28 + len(text) + self.length
        return (
            struct.pack("<4sII", b"glTF", 2, min(total, MOST_BYTES))
            + struct.pack("<I4s", len(text), b"JSON")
            + text
            + struct.pack("<I4s", min(self.length, MOST_BYTES), b"BIN\0")
        )

    def _document(self, matrix: Float[np.ndarray, "4 4"]) -> dict[str, Any]:
        return {
            "asset": {
                "version": "2.0",
                "generator": f"splat-uff {__version__}",
                "extras": {"gltf_from_source": (matrix + 0.0).tolist()},
            },
            "extensionsUsed": self.used,
            **({"extensions": self.extensions} if self.extensions else {}),
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"name": "gaussians", "mesh": 0}],
            "meshes": [{"name": "gaussians", "primitives": [self.primitive]}],
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": self.length}],
        }

    def _add_attribute(self, values: np.ndarray, kind: int = 0) -> int:
        """Add rows of a vertex attribute; returns the number of its accessor."""
        kind = kind or (_FLOAT if values.dtype == np.float32 else _UNSIGNED_SHORT)
        stride = values.shape[1] * values.itemsize
        accessor = {
            "bufferView": self._add_view(values, target=_ARRAY_BUFFER, byteStride=stride),
            "componentType": kind,
            "count": len(values),
            "type": _SHAPES[values.shape[1]],
        }
        if values.dtype == np.uint16:
            accessor["normalized"] = True
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def _add_view(self, values: np.ndarray, **members: int) -> int:
        """Add the bytes of an array; returns the number of its buffer view."""
        view = {"buffer": 0, "byteOffset": self.length, "byteLength": values.nbytes}
        self.views.append(view | members)
        self.arrays.append(values)
        return len(self.views) - 1


def _attributes(gaussians: Gaussians) -> dict[str, np.ndarray]:
    """Vertex attributes in the frame of the file, each as an array [N, C]."""
    quats = gaussians.quats.double()
    quats = quats / quats.norm(dim=1, keepdim=True)
    opacities = gaussians.opacity_logits.double().sigmoid()
    base = gaussians.sh0[:, 0]
    tensors = {
        "POSITION": gaussians.means,
        f"{SPLATTING}:ROTATION": quats[:, [1, 2, 3, 0]],
        f"{SPLATTING}:SCALE": gaussians.log_scales.double().exp(),
        f"{SPLATTING}:OPACITY": opacities[:, None],
        f"{SPLATTING}:SH_DEGREE_0_COEF_0": base,
    }
    for k in range(gaussians.shN.shape[1]):
        degree = int((k + 1) ** 0.5)
        name = f"{SPLATTING}:SH_DEGREE_{degree}_COEF_{k + 1 - degree**2}"
        tensors[name] = gaussians.shN[:, k]
    arrays = {name: each.numpy().astype("<f4") for name, each in tensors.items()}
    return {"POSITION": arrays.pop("POSITION"), "COLOR_0": _fallback(base, opacities), **arrays}


def _fallback(base: torch.Tensor, opacities: torch.Tensor) -> np.ndarray:
    """Colours [N, 4] for viewers that draw points: linear RGB and opacity.

    They have 16 bits, since dark colours are small numbers once they are linear.
    """
    srgb = (0.5 + C0 * base.double()).clamp(0, 1).numpy()
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    colours = np.concatenate([linear, opacities.numpy()[:, None]], axis=1)
    return np.rint(colours * 65535).astype("<u2")


def _padding(length: int) -> int:
    """Number of bytes up to the next multiple of the alignment."""
    return -length % ALIGNMENT
