"""Damaged copies of files: cut off, or with some bytes changed."""

import tracemalloc

import numpy as np
import pytest

from splat_uff.system.errors import InputError

MOST_MEMORY = 1 << 25
"""Bytes that a reader may take for a small damaged file."""


def refused(read, path, content, said="."):
    """One line that says why a file of this content is not read, with bounded memory."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=said) as caught:
            read(path)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MOST_MEMORY
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return line


def cuts(content: bytes, count=40):
    """The file cut off at places spread over it, the first and the last bytes among them."""
    ends = {0, 1, 3, 4, 15, 16, 31, 32, len(content) - 1}
    ends |= set(np.linspace(0, len(content) - 1, count).astype(int).tolist())
    return [content[:end] for end in sorted(ends) if end < len(content)]


def survives(read, path, content, *, seed=0, count=60, start=0, within=None):
    """Read copies with random bytes changed: each gives a table or one line, never another error.

    Args:
        start: First byte that may be changed.
        within: Number of bytes from there, of which some are changed.
    """
    rng = np.random.default_rng(seed)
    outcomes = set()
    for _ in range(count):
        changed = bytearray(content)
        for at in rng.integers(start, min(start + (within or len(content)), len(content)), 3):
            changed[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
        path.write_bytes(changed)
        try:
            read(path)
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    return outcomes
