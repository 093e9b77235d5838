"""Formats of files of splats, recognised by the content of a file, not its name."""

import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

from splat_uff.system.errors import InputError, reason_of, worded

Format: TypeAlias = Literal["ply", "compressed-ply", "splat", "ksplat", "spz", "sog"]
ENDINGS = {
    "ply": ".ply",
    "compressed-ply": ".compressed.ply",
    "splat": ".splat",
    "ksplat": ".ksplat",
    "spz": ".spz",
    "sog": ".sog",
}
"""Ending of a file of each format."""
EXPECTED = "a .ply, .splat, .ksplat, .spz or .sog of splats"

HEAD = 1 << 16
"""Bytes that are inspected; a `.ply` header must end within them, and that of splats takes about
2000."""
MOST_JSON = 1 << 24
"""Size of the largest `.json` that is inspected, in bytes."""
CONVERT = "convert it to a 3DGS .ply, for instance with SuperSplat or splat-transform"
EXPORT = "export a .ply from it (nerfstudio: ns-export gaussian-splat; gsplat: --save_ply)"
PARTS = {"x", "y", "z", "opacity", "f_dc_0", "scale_0", "rot_0"}
"""Columns that every 3DGS `.ply` has; other files have few of them."""


def detect(path: Path) -> Format:
    """Tell the format of a file of splats by its content.

    Only a few bytes are unpacked, and nothing in the file is executed.

    Args:
        path: File, or the folder of an unpacked SOG.

    Raises:
        InputError: If there is no file, or it has another format, which the message names.
    """
    if path.is_dir():
        return _detect_folder(path)
    if not path.is_file():
        raise InputError(f"no file {path}; expected {EXPECTED}.")
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({reason_of(error)}); expected {EXPECTED}."
        ) from None
    return _detect_file(path, head)


def files_of(path: Path) -> list[Path]:
    """Files that a splat consists of: itself, or those of an unpacked SOG, sorted."""
    folder = path if path.is_dir() else path.parent
    if path.is_dir() or (path.name == "meta.json" and detect(path) == "sog"):
        return [folder / "meta.json", *sorted(folder.glob("*.webp"))]
    return [path]


def _refuse(path: Path, what: str, advice: str) -> NoReturn:
    raise InputError(f"{path} is {what}; expected {EXPECTED}, so {advice}.")


def _detect_folder(path: Path) -> Format:
    meta = path / "meta.json"
    if meta.is_file() and _is_sog(_read_json(meta)):
        return "sog"
    names = ("point_cloud/iteration_*/point_cloud.ply", "ply/*.ply", "*.ply")
    inside = [file for pattern in names for file in sorted(path.glob(pattern))]
    if inside:
        _refuse(path, "a folder", f"pass a file in it, for instance {inside[-1]}")
    _refuse(path, "a folder", "pass the file")


def _detect_file(path: Path, head: bytes) -> Format:
    if not head:
        _refuse(path, "empty", "export it again")
    if head.startswith(b"ply"):
        return _detect_ply(path, head)
    if head.startswith(b"NGSP") or (head.startswith(b"\x1f\x8b") and _unpacks_to(head, b"NGSP")):
        return "spz"
    if head.startswith(b"\x1f\x8b"):
        _refuse(path, "compressed by gzip", "unpack it")
    if head.startswith(b"PK\x03\x04"):
        return _detect_zip(path)
    if head.startswith(b"\x80") and b"." in head[2:]:  # A pickle, which is never opened.
        _refuse(path, "a PyTorch checkpoint (.pt, .ckpt)", EXPORT)
    if head.startswith(b"glTF"):
        _refuse(path, "a binary glTF (.glb)", CONVERT)
    if head.lstrip()[:1] == b"{":
        return _detect_json(path)
    if _is_ksplat(path, head):
        return "ksplat"
    if _is_splat(path, head):
        return "splat"
    return "ply"  # The reader reports what is wrong with it.


def _detect_ply(path: Path, head: bytes) -> Format:
    """Tell a compressed `.ply`, a cloud and a mesh by their columns; 3DGS if in doubt."""
    elements: dict[str, int] = {}
    columns: set[str] = set()
    element = ""
    header, end, _ = head.partition(b"end_header")
    if not end:
        return "ply"
    for words in map(bytes.split, header.splitlines()):
        if words[:1] == [b"element"] and len(words) == 3 and words[2].isdigit():
            element = words[1].decode("ascii", "replace")
            elements[element] = int(words[2])
        if words[:1] == [b"property"] and element == "vertex":
            columns.add(words[-1].decode("ascii", "replace"))
    if "packed_position" in columns or "chunk" in elements:
        return "compressed-ply"
    if "vertex" not in elements or len(PARTS & columns) > 3:
        return "ply"
    if elements.get("face", 0) > 0:
        _refuse(path, "a mesh without columns of Gaussians", "pass the splats that were fitted")
    _refuse(
        path,
        "a point cloud without columns of Gaussians",
        "pass the splats that were fitted, or the photos, to which "
        f"{worded('train', command='splat-uff train --data DIR')} fits splats",
    )


def _detect_zip(path: Path) -> Format:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        _refuse(path, "a damaged zip archive", "export it again")
    if any(name.endswith("data.pkl") for name in names):
        _refuse(path, "a PyTorch checkpoint (.pt, .ckpt)", EXPORT)
    if any(Path(name).name == "meta.json" for name in names):
        return "sog"
    if names and all(name.endswith(".npy") for name in names):
        _refuse(path, "an archive of arrays (.npz)", CONVERT)
    _refuse(path, "a zip archive", "unpack it and pass the file in it")


def _detect_json(path: Path) -> Format:
    record = _read_json(path)
    if _is_sog(record):
        return "sog"
    if isinstance(record, dict) and "asset" in record:
        _refuse(path, "a glTF (.gltf)", CONVERT)
    _refuse(path, "a .json", "pass the splats")


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
