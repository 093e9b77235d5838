"""Shares of a batch, and runs that were made otherwise."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from splat_uff.batch.config import Entry
from splat_uff.batch.plan import Shard, check_run, order, parse_shard
from splat_uff.run.begin import start_run
from splat_uff.run.folder import RunFolder
from splat_uff.run.provenance import Provenance, fingerprint_of
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import InputError


@given(items=st.lists(st.integers()), count=st.integers(1, 40))
def test_every_capture_is_in_exactly_one_share(items, count):
    numbered = list(enumerate(items))
    shares = [parse_shard(f"{index}/{count}").of(numbered) for index in range(1, count + 1)]
    assert sorted(each for share in shares for each in share) == numbered
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    "text", ["0/3", "4/3", "1/0", "1", "1/3/3", "-1/3", "a/b", "", "1.0/3", "1/9999999", "\u0661/3"]
)
def test_parse_shard_refuses_others(text):
    with pytest.raises(InputError, match="the shard is"):
        parse_shard(text)


def test_shard_by_default_has_everything():
    assert Shard().of([1, 2, 3]) == [1, 2, 3]


@pytest.fixture
def entry(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "transforms.json").write_text("{}")
    return Entry("photos", TrainConfig(), data=tmp_path / "photos")


@pytest.fixture
def begun(entry, tmp_path):
    """Folder of a run of this entry that was cut off."""
    run = RunFolder(tmp_path / "runs" / entry.name)
    provenance = Provenance(
        entry.name,
        str(entry.data),
        "imported",
        fingerprint_of(entry.data, run.path),
        entry.settings,
    )
    with start_run(run, provenance, resume=False, overwrite=False):
        pass
    return run


def test_order_begins_with_what_was_cut_off_and_leaves_out_what_is_finished(entry, begun):
    first, last = replace(entry, name="first"), replace(entry, name="last")
    given = [first, entry, last]
    output = begun.path.parent
    assert [each.name for each in order(given, output)] == ["photos", "first", "last"]
    begun.metrics.write_text("{}")
    assert [each.name for each in order(given, output)] == ["first", "last"]


def test_check_run_accepts_its_own_run_and_none(entry, begun):
    check_run(entry, begun.path.parent)
    check_run(replace(entry, name="other"), begun.path.parent)


def test_check_run_tells_what_differs(entry, begun, tmp_path):
    output = begun.path.parent
    with pytest.raises(InputError, match=r"size = 400 \(now 64\)"):
        check_run(replace(entry, settings=TrainConfig(size=64)), output)
    with pytest.raises(InputError, match="masks = "):
        check_run(replace(entry, masks="classical"), output)
    with pytest.raises(InputError, match="data = "):
        check_run(replace(entry, data=tmp_path / "elsewhere"), output)
    (tmp_path / "photos" / "transforms.json").write_text("{ }")
    with pytest.raises(InputError, match="fingerprint = "):
        check_run(entry, output)
