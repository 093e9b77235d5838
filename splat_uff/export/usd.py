"""Gaussians and their tree as an OpenUSD stage: a prim per node, a splat per segment.

The splats are `ParticleField3DGaussianSplat` prims of UsdVol, a schema in OpenUSD 26.03 and newer:
https://openusd.org/release/api/class_usd_vol_particle_field3_d_gaussian_splat.html. It has linear
scales, opacities in [0, 1], unit quaternions, a Gaussian of standard deviation 1 as the kernel, and
the coefficients of the spherical harmonics grouped by particle, degree by degree.
"""

import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from math import isqrt
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from splat_uff import __version__
from splat_uff.export.ellipsoids import extent, half_axes
from splat_uff.formats.rows import Parts, finite_parts, usable_rows
from splat_uff.gaussians.precision import judge_precision, near_origin
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import replacing
from splat_uff.system.records import array_record

ENDINGS = (".usdc", ".usda", ".usd")
SCENE, SPLATS = "Scene", "Gaussians"
"""Names of the default prim, and of the Gaussians below a segment."""
SCHEMA = "ParticleField3DGaussianSplat"
SIGMAS = 3.0
"""Standard deviations that an extent spans; the schema's kernel has 99.7 % of its support there."""
DEEPEST = 200
"""Most nodes nested in one another; deeper ones lie side by side. Paths of thousands of names take
OpenUSD minutes."""
LONGEST_NAME, LONGEST_TEXT = 60, 1000
"""Most characters of a prim's name, and of a name kept as text."""
_UPRIGHT = OPENCV_FROM_OPENGL[:3, :3]
"""Half a turn about x, which takes -y, up in an OpenCV world, to +y."""


def write_usd(
    path: Path,
    table: np.ndarray,
    nodes: Sequence[Mapping[str, Any]],
    cut: Int[np.ndarray, "N"],
    parents: Int[np.ndarray, "T"] | None = None,
    *,
    metres: float = 1.0,
) -> None:
    """Write the Gaussians of a cut, below the nodes of their tree, as an OpenUSD stage.

    `/Scene` is the default prim. Below it are an Xform for every node from the root down to the
    segments, nested as in the tree, and below each segment its `Gaussians`. Ids, names, heights,
    sizes and support of nodes are custom data under `splat_uff`; names are display names, too.

    Values stay in the table's frame, and an op of the root's Xform takes -y to +y, which is up: the
    arrays are those of the splats' file to the bit, and no spherical harmonics are rotated. Centres
    of 64 bits that 32 bits cannot hold count from an origin, which is part of the same op.

    Args:
        path: File to write: `.usdc` and `.usd` are binary, `.usda` is text.
        table: Structured array [N] of 3DGS columns whose rows can all be drawn; degrees of
            spherical harmonics above 3, which readers of the schema refuse, are left out.
        nodes: Nodes as in `describe_tree`, the root first.
        cut: Segment of each Gaussian: a node, or for a segment of one Gaussian its row.
        parents: Parent of each node as in `Dendrogram.parents`, to find the parents of segments of
            one Gaussian, which are not in `nodes`; without it, they lie below the root.
        metres: Length of one unit of the table in metres.

    Raises:
        InputError: If usd-core is missing, an argument is out of range, a row cannot be drawn, or a
            node is not in the tree.
    """
    require_usd()
    _check(path, table, cut, metres)
    parts = finite_parts(table)
    origin = _origin_of(parts.means)
    tops = [_Top(node, rows) for node, rows in _rows_of(cut).items()]
    places = _place(nodes, [top.node for top in tops], parents)

    stage = _usd("Usd").Stage.CreateInMemory()
    _usd("UsdGeom").SetStageUpAxis(stage, _usd("UsdGeom").Tokens.y)
    _usd("UsdGeom").SetStageMetersPerUnit(stage, metres)
    stage.GetRootLayer().customLayerData = {"splat_uff": {"version": __version__}}
    scene = _usd("UsdGeom").Xform.Define(stage, f"/{SCENE}").GetPrim()
    _usd("Usd").ModelAPI(scene).SetKind("component")
    stage.SetDefaultPrim(scene)
    for place in places.values():
        _write_node(stage, place)
    root = next(iter(places.values()))
    op = _usd("UsdGeom").Xformable(stage.GetPrimAtPath(root.path)).AddTransformOp()
    op.Set(_matrix(_UPRIGHT, origin))
    for top in tops:
        _write_splats(stage, f"{places[top.node].path}/{SPLATS}", parts, top.rows, origin)
    with replacing(path) as temporary:
        stage.GetRootLayer().Export(str(temporary))


def require_usd() -> None:
    """Check that splats can be written as OpenUSD.

    Raises:
        InputError: If usd-core is missing, or older than the schema of splats.
    """
    if find_spec("pxr") is None:
        raise InputError("OpenUSD needs usd-core, which is not there; pip install usd-core.")
    if not hasattr(_usd("UsdVol"), SCHEMA):
        version = ".".join(map(str, _usd("Usd").GetVersion()[1:]))
        raise InputError(
            f"OpenUSD is {version}; splats need 26.3 or newer; pip install 'usd-core>=26.3'."
        )


def _usd(module: str) -> Any:
    """Module of OpenUSD, which declares no types."""
    return import_module(f"pxr.{module}")


@array_record
class _Top:
    """Segment of a cut."""

    node: int
    rows: Int[np.ndarray, "M"]


@array_record
class _Place:
    """Node that becomes a prim."""

    path: str
    record: Mapping[str, Any]


def _check(path: Path, table: np.ndarray, cut: np.ndarray, metres: float) -> None:
    if path.suffix not in ENDINGS:
        raise InputError(f"{path} ends in {path.suffix!r}; expected one of {', '.join(ENDINGS)}.")
    if not 0 < metres < np.inf:
        raise InputError(f"{argument('metres')} is {metres}; expected a length above 0.")
    if len(cut) != len(table) or not len(table):
        raise InputError(f"the cut has {len(cut)} rows, the table {len(table)}; one per Gaussian.")
    rows = usable_rows(table)
    if rows.dropped:
        raise InputError(f"{rows.dropped} Gaussians cannot be drawn ({rows}); leave them out.")


def _rows_of(cut: Int[np.ndarray, "N"]) -> dict[int, Int[np.ndarray, "_"]]:
    """Rows of each segment, in the table's order."""
    order = np.argsort(cut, kind="stable")
    found, first = np.unique(cut[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:]), strict=True))


def _origin_of(means: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "3"]:
    """Point that centres count from; 0 if 32 bits can hold them, or could not before."""
    if means.dtype == np.float32 or not judge_precision(means).is_lost:
        return np.zeros(3)
    return near_origin(means)


def _matrix(turn: Float[np.ndarray, "3 3"], origin: Float[np.ndarray, "3"]) -> Any:
    """Matrix for row vectors, as OpenUSD multiplies them, of first a shift and then a rotation."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[3, :3] = turn.T, turn @ origin
    return _usd("Gf").Matrix4d(*(matrix + 0.0).ravel().tolist())  # No -0.


def _place(
    nodes: Sequence[Mapping[str, Any]],
    segments: Sequence[int],
    parents: Int[np.ndarray, "T"] | None,
) -> dict[int, _Place]:
    """Paths of the segments and of all nodes above them, each after its parent, the root first."""
    known = {int(node["id"]): node for node in nodes}
    if not known:
        raise InputError("the tree has no nodes; expected at least a root.")
    root = int(nodes[0]["id"])
    lowest = min(known)
    for segment in segments:
        if segment not in known:
            known[segment] = _leaf(segment, root, lowest, parents)
    wanted = {root}
    for segment in segments:
        at: int | None = segment
        while at is not None and at not in wanted:
            if at not in known:
                raise InputError(f"the parent of a node is {at}, which is not in the tree.")
            wanted.add(at)
            at = known[at]["parent"]
    # Parents have higher ids than their children, as in a Dendrogram.
    places: dict[int, _Place] = {}
    taken: dict[str, set[str]] = {}
    for node in sorted(wanted, reverse=True):
        record = known[node]
        above = f"/{SCENE}" if node == root else places[int(record["parent"])].path
        above = "/".join(above.split("/")[: DEEPEST + 1])
        names = taken.setdefault(above, {SPLATS.lower()})
        places[node] = _Place(f"{above}/{_prim_name(record, names)}", record)
    return places


def _leaf(
    leaf: int, root: int, lowest: int, parents: Int[np.ndarray, "T"] | None
) -> Mapping[str, Any]:
    """Record of a segment of one Gaussian."""
    if not 0 <= leaf < lowest or (parents is not None and leaf >= len(parents)):
        raise InputError(f"the cut names node {leaf}, which is not in the tree.")
    parent = root if parents is None else int(parents[leaf])
    return {"id": leaf, "parent": parent, "height": 0.0, "size": 1, "name": ""}


def _prim_name(record: Mapping[str, Any], taken: set[str]) -> str:
    """Name of a prim, in ASCII, that is not among its siblings', whatever their case; added there.

    OpenUSD allows letters, digits and underscores, no digit first. A name without any letter or
    digit that can be kept becomes that of an unnamed node: `node_` and its id.
    """
    node = int(record["id"])
    name = re.sub(r"[^A-Za-z0-9_]", "_", str(record["name"]).strip())[:LONGEST_NAME]
    if not name.strip("_"):
        name = f"node_{node}"
    elif name[0].isdigit():
        name = f"_{name}"
    while name.lower() in taken:
        name = f"{name}_{node}"
    taken.add(name.lower())
    return name


def _text(name: str) -> str:
    """Text that UTF-8 can hold, without the zero that ends it in C."""
    return name[:LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8").replace("\0", "")


def _write_node(stage: Any, place: _Place) -> None:
    prim = _usd("UsdGeom").Xform.Define(stage, place.path).GetPrim()
    _usd("Usd").ModelAPI(prim).SetKind("subcomponent")
    record, name = place.record, _text(str(place.record["name"]))
    data: dict[str, Any] = {
        "id": int(record["id"]),
        "height": float(record["height"]),
        "size": int(record["size"]),
        "name": name,
    }
    if record["parent"] is not None:
        data["parent"] = int(record["parent"])
    if "support" in record:
        data["support"] = float(record["support"])
    prim.SetCustomDataByKey("splat_uff", data)
    if name:
        prim.SetDisplayName(name)


def _write_splats(
    stage: Any,
    path: str,
    parts: Parts,
    rows: Int[np.ndarray, "M"],
    origin: Float[np.ndarray, "3"],
) -> None:
    """Define one prim of Gaussians with the given rows."""
    from scipy.special import expit

    means = (parts.means[rows] - origin).astype(np.float32)
    quats = parts.quats[rows].astype(np.float64)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    scales = np.exp(parts.log_scales[rows].astype(np.float64))
    opacities = expit(parts.opacity_logits[rows].astype(np.float64))
    degree = isqrt(1 + parts.shN.shape[1]) - 1
    rest = parts.shN[rows, : (degree + 1) ** 2 - 1]
    coefficients = np.concatenate([parts.sh0[rows], rest], axis=1)

    def array(kind: Any, values: np.ndarray) -> Any:
        return kind.FromNumpy(np.ascontiguousarray(values, np.float32))

    splat = _usd("UsdVol").ParticleField3DGaussianSplat.Define(stage, path)
    splat.CreatePositionsAttr(array(_usd("Vt").Vec3fArray, means))
    splat.CreateOrientationsAttr(
        array(_usd("Vt").QuatfArray, np.roll(quats, -1, axis=1))
    )  # In as xyzw.
    splat.CreateScalesAttr(array(_usd("Vt").Vec3fArray, scales))
    splat.CreateOpacitiesAttr(array(_usd("Vt").FloatArray, opacities))
    splat.CreateRadianceSphericalHarmonicsDegreeAttr(degree)
    splat.CreateRadianceSphericalHarmonicsCoefficientsAttr(
        array(_usd("Vt").Vec3fArray, coefficients.reshape(-1, 3))
    )
    splat.CreateExtentAttr(
        array(_usd("Vt").Vec3fArray, extent(means, half_axes(quats, scales), SIGMAS))
    )
