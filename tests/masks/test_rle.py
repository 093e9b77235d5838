"""Run-length encodings: what is decoded is what was encoded, and nothing else is accepted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splat_uff.capture.images import MAX_PIXELS
from splat_uff.masks.rle import decode_rle


def runs_of(mask):
    """Lengths of runs down the columns, 0s first."""
    flat = mask.T.ravel()
    edges = np.flatnonzero(np.diff(flat.astype(int))) + 1
    counts = np.diff([0, *edges, len(flat)]).tolist()
    return [0, *counts] if flat[0] else counts


def as_text(counts):
    """COCO's text, written as its description says."""
    text = ""
    for index, count in enumerate(counts):
        value = count - (counts[index - 2] if index > 2 else 0)
        more = True
        while more:
            code, value = value & 31, value >> 5
            more = value != (-1 if code & 16 else 0)
            text += chr((code | (32 if more else 0)) + 48)
    return text


@given(
    seed=st.integers(0, 10_000), height=st.integers(1, 40), width=st.integers(1, 40),
    share=st.floats(0, 1),
)  # fmt: skip
def test_decode_rle_undoes_both_encodings(seed, height, width, share):
    mask = np.random.default_rng(seed).random((height, width)) < share
    counts = runs_of(mask)
    for written in (counts, as_text(counts)):
        found = decode_rle({"size": [height, width], "counts": written})
        np.testing.assert_array_equal(found, mask)


def test_decode_rle_knows_a_text_that_coco_wrote():
    # What pycocotools.mask.encode gives for a 4 x 4 mask whose middle is set.
    mask = np.zeros((4, 4), bool)
    mask[1:3, 1:3] = True
    assert runs_of(mask) == [5, 2, 2, 2, 5]
    found = decode_rle({"size": [4, 4], "counts": "52203"})
    np.testing.assert_array_equal(found, mask)


BAD = {
    "nothing": None,
    "no size": {"counts": [16]},
    "no counts": {"size": [4, 4]},
    "size of text": {"size": ["4", "4"], "counts": [16]},
    "three sides": {"size": [4, 4, 1], "counts": [16]},
    "a side of 0": {"size": [0, 4], "counts": []},
    "too large": {"size": [MAX_PIXELS, 2], "counts": [2 * MAX_PIXELS]},
    "too short": {"size": [4, 4], "counts": [5, 2]},
    "too long": {"size": [4, 4], "counts": [5, 200]},
    "below 0": {"size": [4, 4], "counts": [20, -4]},
    "fractions": {"size": [4, 4], "counts": [15.5, 0.5]},
    "huge numbers": {"size": [4, 4], "counts": [2**80]},
    "text out of the alphabet": {"size": [4, 4], "counts": "5 2"},
    "text cut off": {"size": [4, 4], "counts": "5P"},
    "text without end": {"size": [4, 4], "counts": "P" * 100},
    "booleans": {"size": [4, 4], "counts": [True, 15]},
}


@pytest.mark.parametrize("kind", BAD)
def test_decode_rle_refuses_what_is_none(kind):
    with pytest.raises(ValueError, match=r"\w"):
        decode_rle(BAD[kind])
