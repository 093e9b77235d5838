"""Names of nodes outlive the program, and damage to them is one line."""

import pytest

from splat_uff.run.folder import RunFolder
from splat_uff.run.node_names import read_names, tidy_name, write_names
from splat_uff.system.errors import InputError


def test_names_come_back(tmp_path):
    run = RunFolder(tmp_path)
    assert read_names(run) == {}
    write_names(run, {12: "crash cymbal", 7: "Trommel — groß"})
    assert read_names(run) == {7: "Trommel — groß", 12: "crash cymbal"}


def test_names_may_begin_with_a_byte_order_mark(tmp_path):
    run = RunFolder(tmp_path)
    write_names(run, {7: "Trommel"})
    run.names.write_text(run.names.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_names(run) == {7: "Trommel"}


@pytest.mark.parametrize(
    "text",
    [
        '{"names": {"3": ["wheel"]}}',
        '{"names": {"3": null}}',
        "",
        "{",
        "[]",
        "{}",
        '{"names": []}',
        '{"names": {"x": "y"}}',
        "[" * 100_000,
        "\x00\xff",
    ],
)
def test_damaged_names(tmp_path, text):
    run = RunFolder(tmp_path)
    run.names.write_text(text)
    with pytest.raises(InputError, match=r"names\.json is damaged") as caught:
        read_names(run)
    assert "\n" not in str(caught.value)


def test_names_are_one_short_line():
    assert tidy_name(" a\nb\x1b[31m\u202e c ") == "a b [31m c"
    assert len(tidy_name("é" * 99)) == 60
