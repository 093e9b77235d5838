"""Detection of splats in formats other than a 3DGS `.ply`, by the file's content, not its name."""

import json
import struct
import zipfile
import zlib
from pathlib import Path

from splat_uff.system.errors import InputError, argument, reason_of

HEAD = 1 << 16
"""Bytes that are inspected; a `.ply` header must end within them, and that of splats takes about
2000."""
MOST_JSON = 1 << 24
"""Size of the largest `.json` that is inspected, in bytes."""
CONVERT = "convert it to a 3DGS .ply, for instance with SuperSplat or splat-transform"
EXPORT = "export a .ply from it (nerfstudio: ns-export gaussian-splat; gsplat: --save_ply)"
PARTS = {"x", "y", "z", "opacity", "f_dc_0", "scale_0", "rot_0"}
"""Columns that every 3DGS `.ply` has; other files have few of them."""


def refuse_other_formats(path: Path) -> None:
    """Check that a path leads to a file that may be a 3DGS `.ply`.

    Only a few bytes are unpacked, and nothing in the file is executed.

    Raises:
        InputError: If there is no file, or it has another format, which the message names.
    """
    if path.is_dir():
        raise InputError(_line(path, *_name_folder(path)))
    if not path.is_file():
        raise InputError(f"no file {path}; expected a 3DGS .ply.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({reason_of(error)}); expected a .ply.") from None
    found = _name_format(path, head)
    if found is not None:
        raise InputError(_line(path, *found))


def _line(path: Path, what: str, advice: str) -> str:
    return f"{path} is {what}; expected a 3DGS .ply, so {advice}."


def _name_folder(path: Path) -> tuple[str, str]:
    meta = path / "meta.json"
    if meta.is_file() and _is_sog(_read_json(meta)):
        return "the folder of an unpacked SOG", CONVERT
    names = ("point_cloud/iteration_*/point_cloud.ply", "ply/*.ply", "*.ply")
    inside = [file for pattern in names for file in sorted(path.glob(pattern))]
    if inside:
        return "a folder", f"pass a file in it, for instance {inside[-1]}"
    return "a folder", "pass the file"


def _name_format(path: Path, head: bytes) -> tuple[str, str] | None:
    """Name a file's format and what to do about it; None if it may be a 3DGS `.ply`."""
    if not head:
        return "empty, which is not a 3DGS .ply", "export it again"
    if head.startswith(b"ply"):
        return _name_ply(head)
    if head.startswith(b"NGSP") or (head.startswith(b"\x1f\x8b") and _unpacks_to(head, b"NGSP")):
        return "in Niantic's format (.spz)", CONVERT
    if head.startswith(b"\x1f\x8b"):
        return "compressed by gzip", "unpack it"
    if head.startswith(b"PK\x03\x04"):
        return _name_zip(path)
    if head.startswith(b"\x80") and b"." in head[2:]:  # A pickle, which is never opened.
        return "a PyTorch checkpoint (.pt, .ckpt)", EXPORT
    if head.startswith(b"glTF"):
        return "a binary glTF (.glb)", CONVERT
    if head.lstrip()[:1] == b"{":
        return _name_json(_read_json(path))
    if _is_ksplat(path, head):
        return "in the format of GaussianSplats3D (.ksplat)", CONVERT
    if _is_splat(path, head):
        return "in antimatter15's format (.splat)", CONVERT
    return None  # The .ply reader reports what is wrong with it.


def _name_ply(head: bytes) -> tuple[str, str] | None:
    """Name the format of a `.ply` with other columns; None if it may be 3DGS."""
    elements: dict[str, int] = {}
    columns: set[str] = set()
    element = ""
    header, end, _ = head.partition(b"end_header")
    if not end:
        return None
    for words in map(bytes.split, header.splitlines()):
        if words[:1] == [b"element"] and len(words) == 3 and words[2].isdigit():
            element = words[1].decode("ascii", "replace")
            elements[element] = int(words[2])
        if words[:1] == [b"property"] and element == "vertex":
            columns.add(words[-1].decode("ascii", "replace"))
    if "packed_position" in columns or "chunk" in elements:
        return "a compressed .ply of SuperSplat (packed columns)", CONVERT
    if "vertex" not in elements or len(PARTS & columns) > 3:
        return None
    if elements.get("face", 0) > 0:
        return "a mesh without columns of Gaussians", "pass the splats that were fitted"
    return (
        "a point cloud without columns of Gaussians",
        "pass the splats that were fitted, or leave "
        f"{argument('splats', flag='--gaussians')} out to fit them here",
    )


def _name_zip(path: Path) -> tuple[str, str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged zip archive", "export it again"
    if any(name.endswith("data.pkl") for name in names):
        return "a PyTorch checkpoint (.pt, .ckpt)", EXPORT
    if any(Path(name).name == "meta.json" for name in names):
        return "a SOG (.sog)", CONVERT
    if names and all(name.endswith(".npy") for name in names):
        return "an archive of arrays (.npz)", CONVERT
    return "a zip archive", "unpack it and pass the .ply in it"


def _name_json(record: object) -> tuple[str, str]:
    if _is_sog(record):
        return "the meta.json of an unpacked SOG", CONVERT
    if isinstance(record, dict) and "asset" in record:
        return "a glTF (.gltf)", CONVERT
    return "a .json", "pass the splats"


def _is_sog(record: object) -> bool:
    return isinstance(record, dict) and {"means", "scales"} <= record.keys()


def _read_json(path: Path) -> object:
    if path.stat().st_size > MOST_JSON:
        return None
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _unpacks_to(head: bytes, start: bytes) -> bool:
    try:
        return zlib.decompressobj(wbits=31).decompress(head, len(start)) == start
    except zlib.error:
        return False


def _is_ksplat(path: Path, head: bytes) -> bool:
    """Whether the file starts with a `.ksplat` header: version 0.1 or later, sections, splats."""
    if len(head) < 4096 or head[0] != 0 or head[1] == 0:
        return False
    most_sections, sections, most_splats, splats = struct.unpack_from("<4I", head, 4)
    fits = 0 < splats <= most_splats <= path.stat().st_size
    return fits and 0 < sections <= most_sections <= 1 << 16


def _is_splat(path: Path, head: bytes) -> bool:
    """Whether all inspected bytes are rows of a `.splat`: centre, scales, colour, rotation."""
    if path.stat().st_size % 32:
        return False
    for x, y, z, *scales in struct.iter_unpack("<6f8x", head[: len(head) // 32 * 32]):
        if not all(abs(value) < 1e12 for value in (x, y, z)):
            return False
        if not all(0 <= value < 1e12 for value in scales) or not any(scales):
            return False
    return True
