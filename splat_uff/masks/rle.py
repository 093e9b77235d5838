"""Run-length encoded masks in COCO's format, which Segment Anything and SAM 2 write.

Runs go down the columns, 0s first. `counts` is a list of numbers, or COCO's text for such a list:
each character, minus 48, holds five bits; a sixth bit says that more follow. After the third
number, only the difference to the number two before is written.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from splat_uff.capture.images import MAX_PIXELS


def decode_rle(record: Any) -> Bool[np.ndarray, "H W"]:
    """Decode one mask from `{"size": [height, width], "counts": ...}`.

    Raises:
        ValueError: If the record has another form, or its runs do not fill the mask exactly.
    """
    if not isinstance(record, dict) or not isinstance(record.get("size"), list):
        raise ValueError("no size and counts")
    size = record["size"]
    if len(size) != 2 or not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"size {size}")
    height, width = size
    if height * width > MAX_PIXELS:
        raise ValueError(f"{width}x{height} pixels")
    counts = _counts(record.get("counts"))
    if (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(f"runs of {counts.sum()} pixels for {height * width}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def _counts(written: Any) -> Int[np.ndarray, "R"]:
    if isinstance(written, list):
        if len(written) > MAX_PIXELS or not all(type(count) is int for count in written):
            raise ValueError("counts that are no whole numbers")
        return np.array([min(max(count, -1), MAX_PIXELS + 1) for count in written], np.int64)
    if not isinstance(written, str):
        raise ValueError("no counts")
    counts: list[int] = []
    value, shift = 0, 0
    for character in written:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError(f"counts with the character {character!r}")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:  # Negative: the bits above are ones.
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("counts that are cut off")
    if any(abs(count) > MAX_PIXELS for count in counts):
        raise ValueError("runs beyond every image")
    return np.array(counts, np.int64)
