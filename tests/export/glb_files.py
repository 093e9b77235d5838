"""Random Gaussians, and what is in a `.glb`, read with the standard library alone."""

import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np

KINDS = {5121: "<u1", 5123: "<u2", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}


def make_splats(count=5, degree=1, seed=0, kinds=None) -> np.ndarray:
    """Random Gaussians as a table, of float32 but for the columns of which `kinds` has the type."""
    columns = [
        *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2"),
        *(f"f_rest_{i}" for i in range(3 * ((degree + 1) ** 2 - 1))),
        *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
    ]
    table = np.empty(count, [(name, (kinds or {}).get(name, "<f4")) for name in columns])
    rng = np.random.default_rng(seed)
    for name in columns:
        table[name] = rng.normal(size=count)
    return table


class Glb:
    """JSON and bytes of a file."""

    def __init__(self, path: Path):
        content = path.read_bytes()
        magic, version, length, size, kind = struct.unpack_from("<4sIII4s", content)
        assert (magic, version, length, kind) == (b"glTF", 2, len(content), b"JSON")
        self.json = json.loads(content[20 : 20 + size])
        self.start = 28 + size
        held, kind = struct.unpack_from("<I4s", content, 20 + size)
        assert (held, kind) == (len(content) - self.start, b"BIN\0")
        self.binary = content[self.start :]

    def view(self, number: int) -> bytes:
        view = self.json["bufferViews"][number]
        start = view["byteOffset"]
        held = self.binary[start : start + view["byteLength"]]
        assert len(held) == view["byteLength"]
        return held

    @property
    def primitive(self):
        return self.json["meshes"][0]["primitives"][0]

    def attributes(self) -> dict[str, np.ndarray]:
        """Every vertex attribute [N, C], without the prefix of the splatting extension."""
        found = {}
        for name, number in self.primitive["attributes"].items():
            accessor = self.json["accessors"][number]
            kind, width = np.dtype(KINDS[accessor["componentType"]]), WIDTHS[accessor["type"]]
            view = self.view(accessor["bufferView"])
            rows = np.frombuffer(view, np.uint8).reshape(accessor["count"], -1)
            stored = np.ascontiguousarray(rows[:, : width * kind.itemsize]).view(kind)
            found[name.removeprefix("KHR_gaussian_splatting:")] = stored
        return found

    def table(self) -> tuple[int, dict[str, np.ndarray | list[str]]]:
        """Number of rows and columns of the property table."""
        metadata = self.json["extensions"]["EXT_structural_metadata"]
        (table,) = metadata["propertyTables"]
        described = metadata["schema"]["classes"][table["class"]]["properties"]
        columns = {}
        for name, stored in table["properties"].items():
            values = self.view(stored["values"])
            if described[name]["type"] == "STRING":
                assert stored["stringOffsetType"] == "UINT32"
                ends = np.frombuffer(self.view(stored["stringOffsets"]), "<u4").tolist()
                pairs = pairwise(ends)
                columns[name] = [values[start:end].decode() for start, end in pairs]
                continue
            kind = described[name]["componentType"]
            letter = {"U": "u", "I": "i", "F": "f"}[kind[0]]
            width = WIDTHS[described[name]["type"]]
            bits = int(kind.lstrip("UINTFLOA"))
            columns[name] = np.frombuffer(values, f"<{letter}{bits // 8}").reshape(-1, width)
        return table["count"], columns
