"""Records that hold arrays, are compared by identity and have a one-line `repr`."""

from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from typing_extensions import dataclass_transform  # In typing from Python 3.11 on.

T = TypeVar("T")
LONGEST = 40
"""Most characters of a value that are shown."""


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
def array_record(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass with array fields, among others.

    Two records are equal only if they are the same object, so `==` neither raises nor compares
    megabytes, and records can be dictionary keys. Their `repr` shows types and shapes.

    Example:
        >>> import numpy as np
        >>> @array_record
        ... class Points:
        ...     xyz: np.ndarray
        ...     name: str
        >>> Points(np.zeros((5, 3)), "five")
        Points(xyz=float64[5, 3], name='five')
    """
    made = dataclass(frozen=True, eq=False, repr=False)(cls)
    type.__setattr__(made, "__repr__", _describe)
    return made


def _describe(record: Any) -> str:
    shown = (f"{each.name}={_brief(getattr(record, each.name))}" for each in fields(record))
    return f"{type(record).__name__}({', '.join(shown)})"


def _brief(value: Any) -> str:
    """Type and shape of an array, length of a container, or otherwise the value, truncated."""
    kind = type(value).__name__
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, list | tuple | dict | set):
        return f"{kind} of {len(value)}"
    if value is None or isinstance(value, bool | int | float | str):
        text = repr(value)
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
    return kind
