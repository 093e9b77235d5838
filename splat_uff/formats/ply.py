"""PLY files (Turk 1994) as structured arrays: every column with its type, and the comments.

Libraries for splats read the columns that they know; this reads all of them, so that an export can
give them back (docs/research/splat-readers.md has the comparison).
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np

from splat_uff.system.files import replacing
from splat_uff.system.progress import notice

MOST_HEADER = 1 << 16
"""Bytes within which a header must end; that of splats takes about 2000."""
ORDERS: Mapping[str, Literal["<", ">", "="]] = {
    "binary_little_endian": "<",
    "binary_big_endian": ">",
    "ascii": "=",
}
TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8"},
    **{"int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4"},
    **{"float32": "f4", "float64": "f8"},
}
"""NumPy's name of each type, without byte order."""
NAMES = {kind: name for name, kind in reversed(TYPES.items())}


@dataclass(frozen=True)
class PlyColumn:
    """A value of each row."""

    name: str
    kind: str
    """NumPy's name of its type, without byte order."""
    length_kind: str = ""
    """Type of the number before a list of values; empty if there is one value."""


@dataclass(frozen=True)
class PlyElement:
    """Rows of one kind, such as vertices."""

    name: str
    count: int
    columns: tuple[PlyColumn, ...]

    @property
    def has_lists(self) -> bool:
        """Whether a column has lists of values, so that no structured array can hold the rows."""
        return any(column.length_kind for column in self.columns)

    @property
    def dtype(self) -> np.dtype:
        """Type of a row.

        Raises:
            ValueError: If a column has lists, or two have the same name.
        """
        if self.has_lists:
            raise ValueError(f"{self.name} has columns of lists")
        return np.dtype([(column.name, column.kind) for column in self.columns])


@dataclass(frozen=True)
class PlyHeader:
    """What a `.ply` says of its content before it begins."""

    encoding: str
    """A key of `ORDERS`."""
    elements: tuple[PlyElement, ...]
    comments: tuple[str, ...]
    """Comments, in order; a line of `obj_info` counts as one that starts with this word."""
    size: int
    """Bytes that the header takes."""

    def element(self, name: str) -> PlyElement:
        """The element of a name.

        Raises:
            ValueError: If there is none.
        """
        for each in self.elements:
            if each.name == name:
                return each
        raise ValueError(f"no element {name}")


def read_header(path: Path) -> PlyHeader:
    """Read the header of a `.ply`, and check that the file can hold what it announces.

    Raises:
        ValueError: If the file is no `.ply`, or its header is damaged or announces too many rows.
        OSError: If the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(MOST_HEADER)
        size = file.seek(0, 2)
    if not head.startswith(b"ply"):
        raise ValueError("it does not start with ply")
    text, end, rest = head.partition(b"end_header")
    if not end:
        reach = f" in its first {MOST_HEADER} bytes" if size > MOST_HEADER else ""
        raise ValueError(f"no end_header{reach}")
    newline = 2 if rest.startswith(b"\r\n") else 1
    encoding, elements, comments = _parse(text.decode("utf-8", "surrogateescape"))
    header = PlyHeader(encoding, elements, comments, len(text) + len(end) + newline)
    for each in elements:
        if each.count > size:  # A row of any kind takes at least one byte.
            raise ValueError(f"{each.count} rows announced in {size} bytes")
    return header


def read_elements(path: Path, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Read elements of a `.ply` as structured arrays in the machine's byte order.

    Args:
        path: File to read.
        names: Names of the elements; by default all that have no columns of lists.

    Raises:
        ValueError: If the file is damaged or truncated, or an element is missing or has columns of
            lists.
        OSError: If the file cannot be read.
    """
    header = read_header(path)
    for name in names or ():
        header.element(name)
    found: dict[str, np.ndarray] = {}
    with path.open("rb") as file:
        file.seek(header.size)
        for element in header.elements:
            if names is not None and len(found) == len(set(names)):
                break
            if element.has_lists and not (names and element.name in names):
                _skip_lists(file, element, header.encoding)
                continue
            rows = _read_rows(file, element, header.encoding)
            if names is None or element.name in names:
                found[element.name] = rows
        else:
            left = file.read(1 << 20).strip()
            if left:
                notice(
                    f"{path} goes on after the rows that its header counts; the rest is left out. "
                    "If rows are missing, export it again."
                )
    return found


def write_ply(path: Path, elements: Mapping[str, np.ndarray], comments: Sequence[str] = ()) -> None:
    """Write structured arrays as the elements of a little-endian binary `.ply`.

    Args:
        path: File to write.
        elements: Rows of each element by its name.
        comments: Lines of comment for the header.

    Raises:
        ValueError: If a column has a type that PLY lacks.
    """
    lines = ["ply", "format binary_little_endian 1.0"]
    for text in comments:
        one_line = " ".join(text.splitlines())
        is_info = one_line.startswith("obj_info ")
        lines.append(one_line if is_info else f"comment {one_line}")
    for name, rows in elements.items():
        lines.append(f"element {name} {len(rows)}")
        lines += [f"property {_name_of(rows.dtype[each])} {each}" for each in _columns(rows)]
    lines.append("end_header\n")
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write("\n".join(lines).encode("utf-8", "surrogateescape"))
        for rows in elements.values():
            little = [(each, rows.dtype[each].newbyteorder("<")) for each in _columns(rows)]
            np.ascontiguousarray(rows.astype(little, copy=False)).tofile(file)


def _parse(text: str) -> tuple[str, tuple[PlyElement, ...], tuple[str, ...]]:
    encoding, elements, comments = "", [], []
    for line in text.splitlines()[1:]:
        words = line.split()
        if not words:
            continue
        keyword = words[0]
        if keyword == "format":
            encoding = words[1] if len(words) == 3 else ""
        elif keyword == "comment":
            comments.append(line.lstrip().partition("comment")[2][1:])
        elif keyword == "obj_info":
            comments.append(line.strip())
        elif keyword == "element":
            if len(words) != 3 or not words[2].isdecimal():
                raise ValueError(f"a line of its header is {line.strip()[:60]!r}")
            elements.append((words[1], int(words[2]), []))
        elif keyword == "property" and elements:
            elements[-1][2].append(_column(words, line))
        else:
            raise ValueError(f"a line of its header is {line.strip()[:60]!r}")
    if encoding not in ORDERS:
        raise ValueError(f"its format is {encoding or 'not given'}")
    made = tuple(PlyElement(name, count, tuple(columns)) for name, count, columns in elements)
    return encoding, made, tuple(comments)


def _column(words: list[str], line: str) -> PlyColumn:
    if len(words) == 3 and words[1] in TYPES:
        return PlyColumn(words[2], TYPES[words[1]])
    if len(words) == 5 and words[1] == "list" and words[2] in TYPES and words[3] in TYPES:
        return PlyColumn(words[4], TYPES[words[3]], TYPES[words[2]])
    raise ValueError(f"a line of its header is {line.strip()[:60]!r}")


def _skip_lists(file: BinaryIO, element: PlyElement, encoding: str) -> None:
    """Move behind the rows of an element, whose lengths differ."""
    for _ in range(element.count):
        if encoding == "ascii":
            if not file.readline():
                raise ValueError(f"too few rows of {element.name}")
            continue
        for column in element.columns:
            count = 1
            if column.length_kind:
                kind = np.dtype(column.length_kind).newbyteorder(ORDERS[encoding])
                encoded = file.read(kind.itemsize)
                if len(encoded) < kind.itemsize:
                    raise ValueError(f"too few rows of {element.name}")
                count = int(np.frombuffer(encoded, kind)[0])
                if count < 0:
                    raise ValueError(f"a list of {count} values in {element.name}")
            file.seek(count * np.dtype(column.kind).itemsize, 1)


def _read_rows(file: BinaryIO, element: PlyElement, encoding: str) -> np.ndarray:
    dtype = element.dtype
    if element.count == 0 or not dtype.names:
        return np.empty(element.count, dtype)
    if encoding == "ascii":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Fewer rows than asked for: said below.
            lines = (file.readline() for _ in range(element.count))
            rows = np.loadtxt(lines, dtype, comments=None, ndmin=1)
    else:
        rows = np.fromfile(file, dtype.newbyteorder(ORDERS[encoding]), element.count)
    if len(rows) < element.count:
        raise ValueError(f"{len(rows)} of {element.count} rows of {element.name}")
    return rows.astype(dtype, copy=False)


def _columns(rows: np.ndarray) -> tuple[str, ...]:
    return rows.dtype.names or ()


def _name_of(kind: np.dtype) -> str:
    name = NAMES.get(kind.str[1:])
    if name is None:
        raise ValueError(f"PLY has no type for {kind}.")
    return name
