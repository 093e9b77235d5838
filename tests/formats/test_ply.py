"""PLY files of every dialect: columns, types, comments and other elements come back."""

import numpy as np
import pytest

from splat_uff.formats.ply import read_elements, read_header, write_ply
from splat_uff.formats.records import SplatFile, is_antialiased, marks
from tests.formats.splats import make_table, write_elements
from tests.formats.splats import write_ply as write_by_hand

KINDS = {"x": "<f8", "opacity": "<f4", "rot_0": "<i2", "scale_1": "u1", "f_dc_2": "<u4"}


@pytest.mark.parametrize(("byte_order", "text"), [("<", False), (">", False), ("<", True)])
def test_every_column_is_read_with_its_type(byte_order, text, tmp_path):
    table = make_table(7, kinds=KINDS)
    path = write_by_hand(tmp_path / "a.ply", table, byte_order=byte_order, text=text)
    read = read_elements(path)["vertex"]
    assert read.dtype == table.dtype
    for name in table.dtype.names:
        np.testing.assert_array_equal(read[name], table[name])


def test_what_is_written_is_read_back_to_the_bit_with_comments_and_other_elements(tmp_path):
    elements = {
        "camera": np.array([(1.5, 7)], [("focal", ">f8"), ("size", ">i4")]),
        "vertex": make_table(5, kinds=KINDS),
        "empty": np.empty(0, [("a", "<f4")]),
    }
    comments = ("Exported from Brush", "", "  spaces  ", "häh\udcff", "obj_info made of two\nlines")
    write_ply(tmp_path / "a.ply", elements, comments)
    read = read_elements(tmp_path / "a.ply")
    assert list(read) == list(elements)
    for name, rows in elements.items():
        assert read[name].astype(rows.dtype).tobytes() == rows.tobytes()
    header = read_header(tmp_path / "a.ply")
    assert header.comments == (*comments[:4], "obj_info made of two lines")


def test_lines_may_end_as_on_windows(tmp_path):
    table = make_table(3)
    path = write_by_hand(tmp_path / "a.ply", table, comments=["first"])
    header, end, rows = path.read_bytes().partition(b"end_header\n")
    path.write_bytes((header + end).replace(b"\n", b"\r\n") + rows)
    assert read_elements(path)["vertex"].tobytes() == table.tobytes()
    assert read_header(path).comments == ("first",)


def test_an_independent_reader_agrees(tmp_path):
    gsply = pytest.importorskip("gsply")
    table = make_table(11)
    write_ply(tmp_path / "a.ply", {"vertex": table}, ["comment of ours"])
    data = gsply.plyread(tmp_path / "a.ply")
    np.testing.assert_array_equal(data.means, np.stack([table[axis] for axis in "xyz"], axis=1))
    np.testing.assert_array_equal(data.opacities, table["opacity"])
    np.testing.assert_array_equal(data.quats[:, 3], table["rot_3"])


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("SplatRenderMode: mip", True),
        ("SplatRenderMode: default", False),
        ("antialiased 1", True),
        ("antialiased 0", False),
        ("not antialiased 1", False),
        ("made for antialiased viewers", False),
    ],
)
def test_comments_tell_how_splats_are_drawn(comment, expected):
    assert is_antialiased(["Exported from Brush", comment]) is expected
    assert is_antialiased(marks([comment], antialiased=expected)) is expected
    assert marks([comment], antialiased=expected)[0] == comment


def test_the_focal_length_of_the_fit_is_told_once():
    comments = marks(["a", "fitted_focal 3.0"], fitted_focal=277.125)
    assert comments == ["a", "fitted_focal 277.125"]
    assert SplatFile(make_table(1), comments=tuple(comments)).fitted_focal == 277.125


def test_rows_of_others_that_hold_lists_are_passed_over_as_text(tmp_path):
    table = make_table(2)
    path = write_elements(tmp_path / "a.ply", {"vertex": table}, text=True)
    start, vertices, rest = path.read_bytes().partition(b"element vertex")
    header, end, rows = rest.partition(b"end_header\n")
    start += b"element face 2\nproperty list uchar int vertex_indices\n"
    path.write_bytes(start + vertices + header + end + b"2 4 5\n0\n" + rows)
    assert read_elements(path)["vertex"]["opacity"].tolist() == table["opacity"].tolist()


@pytest.mark.parametrize("cut", [40, 90, 200, -1])
def test_a_truncated_file_is_refused(cut, tmp_path):
    path = write_by_hand(tmp_path / "a.ply", make_table(3))
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"end_header|rows of vertex|line of its header"):
        read_elements(path)


def test_a_type_that_ply_lacks_is_refused_and_nothing_is_written(tmp_path):
    with pytest.raises(ValueError, match="PLY has no type for int64"):
        write_ply(tmp_path / "a.ply", {"vertex": np.zeros(2, [("a", "<i8")])})
    assert not list(tmp_path.iterdir())


def test_bytes_after_the_last_row_are_said(tmp_path, capsys):
    path = tmp_path / "more.ply"
    rows = np.zeros(3, [("x", "f4")])
    write_ply(path, {"vertex": rows})
    read_elements(path)
    assert capsys.readouterr().err == ""
    path.write_bytes(path.read_bytes() + rows[:1].tobytes() + b"xyz")
    assert len(read_elements(path)["vertex"]) == 3
    assert f"{path} goes on after the rows that its header counts" in capsys.readouterr().err
