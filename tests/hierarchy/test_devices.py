"""The torch side of consensus and labels against numba's kernels."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splat_uff.hierarchy import consensus_torch
from splat_uff.hierarchy.labels import Parties, label_maps
from splat_uff.hierarchy.labels_torch import count_votes_by_torch
from splat_uff.hierarchy.opinions import Opinion
from splat_uff.hierarchy.votes import Votes
from splat_uff.system import kernels
from tests.devices import DEVICES
from tests.hierarchy.test_consensus import POINTS, ask, random_scene

FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SEEDS = st.integers(0, 9999)


@pytest.fixture
def by_torch(monkeypatch):
    """Makes torch's operations compute on the CPU, too."""

    def switch():
        monkeypatch.setattr(kernels, "numba_computes", lambda device: False)

    yield switch
    monkeypatch.undo()


def assert_opinions_agree(ours, theirs):
    assert len(ours.opinions) == len(theirs.opinions)
    for one, other in zip(ours.opinions, theirs.opinions, strict=True):
        for field in fields(Opinion):
            mine, yours = (getattr(each, field.name).load() for each in (one, other))
            assert mine.dtype == yours.dtype
            np.testing.assert_allclose(mine, yours, rtol=1e-6)


@pytest.mark.parametrize("at_once", [2**23, 20])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("device", DEVICES)
def test_consensus_agrees(device, seed, at_once, monkeypatch):
    weights, bags = random_scene(seed)
    rng = np.random.default_rng(seed)
    sources, targets = rng.integers(0, POINTS, (2, 80))
    group = rng.permutation(np.arange(POINTS) % 7)
    ours = ask(weights, bags)
    expected = ours.along_edges(sources, targets), *ours.between_groups(group)
    monkeypatch.setattr(kernels, "numba_computes", lambda device: False)
    monkeypatch.setattr(consensus_torch, "AT_ONCE", at_once)
    theirs = ask(weights, bags, device=device)
    assert_opinions_agree(ours, theirs)
    found = theirs.along_edges(sources, targets), *theirs.between_groups(group)
    assert expected[0].any()
    for mine, yours in zip(expected, found, strict=True):
        assert mine.dtype == yours.dtype
        np.testing.assert_allclose(mine, yours, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
def test_a_photo_that_sees_no_point_has_an_empty_opinion(device, monkeypatch):
    weights, bags = random_scene(0, views=1)
    nothing = [0 * weights[0]]
    ours = ask(nothing, bags)
    monkeypatch.setattr(kernels, "numba_computes", lambda device: False)
    theirs = ask(nothing, bags, device=device)
    assert_opinions_agree(ours, theirs)
    sources, targets = np.arange(POINTS - 1), np.arange(1, POINTS)
    assert not theirs.along_edges(sources, targets).any()
    total, weight = theirs.between_groups(np.arange(POINTS) % 3)
    assert not total.any()
    assert not weight.any()


def random_votes(rng, device, *, pixels=(5, 8), voters=12, whole=False):
    """Votes, some of equal weight, and pixels without any."""
    counts = rng.integers(0, 7, pixels[0] * pixels[1])
    starts = np.concatenate([[0], np.cumsum(counts)])
    named = rng.integers(0, voters, starts[-1]).astype(np.int32)
    weights = rng.integers(1, 4, len(named)) if whole else rng.random(len(named))
    covered = rng.random(pixels) < 0.8
    return Votes(starts, named, weights.astype(np.float32), covered, device=device)


@FEW
@given(seed=SEEDS, labellings=st.integers(1, 4), at_once=st.sampled_from([1, 9, 1000]))
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("device", DEVICES)
def test_label_maps_agree(device, whole, seed, labellings, at_once):
    """With whole votes there are many ties, which the first label wins on both sides."""
    rng = np.random.default_rng(seed)
    votes = random_votes(rng, device, whole=whole)
    labels = rng.integers(0, 4, (labellings, 12))
    ours = label_maps(Votes(votes.starts, votes.voters, votes.weights, votes.covered), labels)
    found = Parties.of(labels)
    theirs = count_votes_by_torch(votes, found.of_gaussian, found.labels, at_once=at_once)
    assert (ours.reshape(theirs.shape) == theirs).all()


def test_label_maps_take_the_side_of_their_device(by_torch, monkeypatch):
    rng = np.random.default_rng(0)
    votes, labels = random_votes(rng, "cpu"), rng.integers(0, 4, (2, 12))
    ours = label_maps(votes, labels)
    by_torch()
    monkeypatch.setattr("splat_uff.hierarchy.labels._count_votes", None)
    theirs = label_maps(votes, labels)
    assert ours.dtype == theirs.dtype
    assert (ours == theirs).all()


def test_no_votes_give_no_labels():
    votes = Votes(
        np.zeros(5, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), np.ones((2, 2), bool)
    )
    found = Parties.of(np.array([[1, 2]]))
    assert not count_votes_by_torch(votes, found.of_gaussian, found.labels).any()


def test_torch_is_needed_nowhere_on_the_cpu(monkeypatch):
    """The seams ask for the device: numba's kernels are taken on the CPU."""
    assert kernels.numba_computes("cpu")
    assert kernels.numba_computes(torch.device("cpu"))
    assert not kernels.numba_computes(torch.device("cuda", 1))
    assert not kernels.numba_computes("cuda")
