"""Label maps in the published layout: there and back, and files that are not."""

import json

import numpy as np
import pytest

from splat_uff.evaluate.layout import count_views, read_layout, write_layout
from splat_uff.system.errors import InputError


def some_maps(views=3, cuts=12):
    return np.random.default_rng(0).integers(0, 201, (views, cuts, 6, 8)).astype(np.int16)


def test_write_layout_is_read_back_from_fine_to_coarse(tmp_path):
    maps, folder = some_maps(), tmp_path / "labels"
    heights = np.linspace(0.1, 0.9, 12).tolist()
    write_layout(folder, list(maps), heights)
    np.testing.assert_array_equal(read_layout(folder, 3), maps)
    assert count_views(folder) == 3
    assert json.loads((folder / "cuts.json").read_text())["0.120"] == heights[-1]
    assert {path.name for path in folder.iterdir()} == {"0", "1", "2", "cuts.json"}
    theirs = np.load(folder / "1" / "0.010.npy")
    assert ((theirs == 200) == (maps[1, 0] == 0)).all()
    assert (theirs[maps[1, 0] > 0] == maps[1, 0][maps[1, 0] > 0] - 1).all()


def test_read_layout_takes_endings_in_any_case_and_leaves_out_hidden_files(tmp_path):
    maps, folder = some_maps(), tmp_path / "labels"
    write_layout(folder, list(maps), np.linspace(0.1, 0.9, 12).tolist())
    for place in (folder / "0", folder / "2"):
        (place / "._0.010.npy").write_bytes(b"left by a Mac")
        (place / "Thumbs.db").touch()
    (folder / "__MACOSX").mkdir()
    (folder / "1" / "0.010.npy").rename(folder / "1" / "0.010.NPY")
    np.testing.assert_array_equal(read_layout(folder, 3), maps)


def test_write_layout_replaces_nothing_and_leaves_nothing_half_done(tmp_path):
    (tmp_path / "file").touch()
    for taken in (tmp_path, tmp_path / "file"):
        with pytest.raises(InputError, match="is there already"):
            write_layout(taken, list(some_maps()), [0.5] * 12)
    with pytest.raises(ValueError, match="zip"):
        write_layout(tmp_path / "new", list(some_maps()), [0.5] * 11)
    assert {path.name for path in tmp_path.iterdir()} == {"file"}


def spoil(folder, how):
    path = folder / "1" / "0.030.npy"
    if how == "missing view":
        (folder / "1").rename(folder / "9")
    elif how == "missing map":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "pickled":
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    elif how == "floats":
        np.save(path, np.zeros((6, 8)))
    elif how == "another size":
        np.save(path, np.zeros((5, 8), int))
    elif how == "huge header":
        header = "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999, 99999999), }"
        header = header.ljust(117) + "\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    elif how == "negative":
        np.save(path, np.full((6, 8), -1))
    elif how == "too many labels":
        np.save(path, np.full((6, 8), 201))
    elif how == "another name":
        path.rename(folder / "1" / "map.npy")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("missing view", "no folder"),
        ("missing map", "11 label maps"),
        ("empty", "0.030.npy is no label map"),
        ("truncated", "0.030.npy is no label map"),
        ("pickled", "0.030.npy is no label map"),
        ("floats", "float64"),
        ("another size", r"sizes \[\(5, 8\), \(6, 8\)\]"),
        ("huge header", "0.030.npy is no label map"),
        ("negative", "labels from -1"),
        ("too many labels", "to 201; expected 0 to 200"),
        ("another name", "names like 0.010.npy"),
    ],
)
def test_read_layout_names_what_is_wrong(how, said, tmp_path):
    folder = tmp_path / "labels"
    write_layout(folder, list(some_maps()), [0.5] * 12)
    spoil(folder, how)
    with pytest.raises(InputError, match=said) as caught:
        read_layout(folder, 3)
    assert "\n" not in str(caught.value)
