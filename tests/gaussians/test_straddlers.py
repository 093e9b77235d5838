"""Gaussians across a border are found, cut along it, and keep mass, centre and shape."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from splat_uff.gaussians.straddlers import (
    NEIGHBOURS,
    SLOTS,
    Votes,
    count_votes,
    find_straddlers,
    split_straddlers,
)
from splat_uff.render import Gaussians
from splat_uff.render.frozen import FrozenViews
from tests.gaussians.scenes import look_at_origin

SIZE = 48


def blobs(means, scales=(0.1, 0.03, 0.05), opacity=0.7):
    count = len(means)
    turn = Rotation.from_euler("xyz", [0.3, -0.4, 0.5]).as_quat()[[3, 0, 1, 2]]
    return Gaussians(
        means=torch.tensor(means, dtype=torch.float32),
        quats=torch.tensor(np.tile(turn, (count, 1)), dtype=torch.float32),
        log_scales=torch.tensor(np.log(scales), dtype=torch.float32).repeat(count, 1),
        opacity_logits=torch.full((count,), float(np.log(opacity / (1 - opacity)))),
        sh0=torch.rand(count, 1, 3, generator=torch.Generator().manual_seed(0)),
        shN=torch.zeros(count, 3, 3),
    )


def seen(gaussians, border=0.0):
    """Views from around, and maps with segment 1 where a ray passes the centre plane at x > border.

    The border is the plane x = border of the world, seen from cameras above and below it.
    """
    cameras = [look_at_origin(np.pi / 2, height, SIZE) for height in (-1.2, -0.5, 0.2, 0.9, 1.3)]
    maps = []
    for camera in cameras:  # They look along the plane, so that it is a line for them.
        x = np.arange(SIZE) + 0.5
        right = camera.world_from_cam[:3, 0]
        assert abs(abs(right[0]) - 1) < 1e-9
        column = SIZE / 2 + 1.5 * SIZE * border * right[0] / 1.5
        first = (x > column) == (right[0] > 0)
        maps.append(np.tile(np.where(first, 1, 2), (SIZE, 1)).astype(np.int32))
    return FrozenViews(gaussians, cameras), maps


def moments(gaussians):
    """Mass, up to a factor, mean, and second moment of each Gaussian."""
    turns = Rotation.from_quat(gaussians.quats.double().numpy()[:, [1, 2, 3, 0]]).as_matrix()
    scales = gaussians.scales.double().numpy()
    means = gaussians.means.double().numpy()
    covariance = np.einsum("nij,nj,nkj->nik", turns, scales**2, turns)
    mass = gaussians.opacities.double().numpy() * scales.prod(axis=1)
    return mass, means, covariance + means[:, :, None] * means[:, None]


@pytest.mark.parametrize("border", [0.0, 0.04])
def test_pieces_have_the_mass_mean_and_covariance_of_the_whole(border):
    whole = blobs([[0.0, 0, 0], [0.4, 0, 0], [-0.4, 0, 0]])
    views, maps = seen(whole, border)
    found = find_straddlers(whole, views, maps, count_votes(views, maps), most=3)
    assert found.indices.tolist() == [0]
    assert {int(found.first[0]), int(found.second[0])} == {1, 2}
    split = split_straddlers(whole, found)
    assert len(split) == 4
    for name, values in split.tensors().items():
        assert torch.equal(values[1:3], whole.tensors()[name][1:]), name  # Others are untouched.
    assert torch.equal(split.sh0[3], whole.sh0[0])
    mass, means, second = moments(split.subset(torch.tensor([0, 3])))
    all_mass, all_mean, all_second = moments(whole.subset(torch.tensor([0])))
    np.testing.assert_allclose(mass.sum(), all_mass[0], rtol=1e-4)
    np.testing.assert_allclose((mass[:, None] * means).sum(0) / mass.sum(), all_mean[0], atol=1e-5)
    combined = (mass[:, None, None] * second).sum(0) / mass.sum()
    np.testing.assert_allclose(combined, all_second[0], rtol=1e-3, atol=1e-7)
    sides = means[:, 0] - border
    first, other = (0, 1) if found.first[0] == 1 else (1, 0)
    assert sides[first] > 0 > sides[other]


def test_the_border_is_where_the_votes_change():
    whole = blobs([[0.0, 0, 0]], scales=(0.1, 0.1, 0.1))
    views, maps = seen(whole, 0.05)
    found = find_straddlers(whole, views, maps, count_votes(views, maps), most=1)
    turn = Rotation.from_quat(whole.quats.numpy()[0, [1, 2, 3, 0]]).as_matrix()
    towards = turn @ found.normals[0] * (1 if found.first[0] == 1 else -1)
    np.testing.assert_allclose(towards, [1, 0, 0], atol=0.1)
    share = found.shares[0] if found.first[0] == 2 else 1 - found.shares[0]
    assert 0.6 < share < 0.8  # Half a standard deviation from the centre: 0.69.


def test_pieces_show_less_of_each_other():
    whole = blobs([[0.0, 0, 0]], scales=(0.1, 0.1, 0.1))
    views, maps = seen(whole)
    before = count_votes(views, maps)
    split = split_straddlers(whole, find_straddlers(whole, views, maps, before, most=1))
    after = count_votes(FrozenViews(split, views.cameras), maps)
    assert before.straddling > 0.4
    assert after.straddling < 0.35 * before.straddling


def test_at_most_so_many_are_split_the_worst_first():
    whole = blobs([[0.0, 0, 0], [0.05, 0, 0.3], [0.0, 0, -0.3]], scales=(0.06, 0.06, 0.06))
    views, maps = seen(whole)
    votes = count_votes(views, maps)
    assert len(find_straddlers(whole, views, maps, votes, most=3).indices) == 3
    second = votes.ranked()[1][:, 1]
    found = find_straddlers(whole, views, maps, votes, most=2)
    assert found.indices.tolist() == sorted(np.argsort(-second)[:2].tolist())
    none = find_straddlers(whole, views, maps, votes, most=0)
    assert len(split_straddlers(whole, none)) == 3


def test_only_so_many_segments_are_counted():
    whole = blobs([[0.0, 0, 0]], scales=(0.3, 0.3, 0.3))
    camera = look_at_origin(0, 0, SIZE)
    shown = np.repeat(np.arange(SIZE, dtype=np.int32)[:, None], SIZE, axis=1)
    votes = count_votes(FrozenViews(whole, [camera]), [shown])
    assert votes.labels.shape == (1, SLOTS)
    assert len(set(votes.labels[0].tolist())) == SLOTS


def test_nothing_seen_is_not_straddling():
    empty = Votes(np.full((2, SLOTS), -1, np.int32), np.zeros((2, SLOTS), np.float32))
    assert empty.straddling == 0


def test_votes_count_only_for_segments_of_neighbours_and_the_background():
    # A row of Gaussians of segment 1, then as many of 2, then of 3, which lie far from 1.
    count = NEIGHBOURS
    means = np.zeros((3 * count, 3))
    means[:, 0] = np.arange(3 * count)
    labels = np.repeat([1, 2, 3], count)
    known = np.tile([1, 2, 3, 0], (3 * count, 1))
    votes = Votes(known, np.tile(np.float32([1, 2, 3, 4]), (3 * count, 1)))
    near = votes.among_neighbours(means, labels)
    assert near.weights[0].tolist() == [1, 2, 0, 4]  # The last of its neighbours is the first of 2.
    assert near.weights[count + 4].tolist() == [1, 2, 0, 4]
    assert near.weights[-1].tolist() == [0, 2, 3, 4]
    assert (near.labels == votes.labels).all()
