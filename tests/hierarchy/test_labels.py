"""Labels in a view: votes are counted, and both ways agree on a plain scene."""

import numpy as np
import pytest
import torch

from splat_uff.geometry.cameras import camera_from_opengl
from splat_uff.hierarchy.labels import (
    MIXER,
    Parties,
    Votes,
    blended_votes,
    label_map,
    label_maps,
    nearest_votes,
)
from splat_uff.render import Gaussians
from splat_uff.system.errors import InputError


def two_blobs():
    """A red cloud on the left and a blue one on the right, in front of a camera."""
    rng = torch.Generator().manual_seed(0)
    means = 0.06 * torch.randn(200, 3, generator=rng)
    means[:100, 0] -= 0.5
    means[100:, 0] += 0.5
    zeros = torch.zeros(200, 3)
    quats = torch.tensor([[1.0, 0, 0, 0]]).repeat(200, 1)
    gaussians = Gaussians(
        means, quats, zeros - 3, zeros[:, 0] + 3, zeros[:, None], torch.zeros(200, 0, 3)
    )
    pose = np.eye(4)
    pose[2, 3] = 2.5
    camera = camera_from_opengl(pose, angle_x=0.8, width=40, height=40)
    return gaussians, camera, np.repeat([1, 2], 100)


def test_label_maps_count_votes():
    votes = Votes(
        np.array([0, 3, 5, 5]),
        np.array([0, 1, 2, 0, 2]),
        np.array([0.3, 0.25, 0.25, 0.5, 0.1], np.float32),
        np.array([[True, True, False]]),
    )
    labels = np.array([[1, 2, 2], [1, 2, 3]])
    assert label_maps(votes, labels).tolist() == [[[2, 1, 0]], [[1, 1, 0]]]


def test_both_votes_see_the_same_two_clouds():
    gaussians, camera, labels = two_blobs()
    blended = label_maps(blended_votes(gaussians, camera), labels[None])[0]
    everyone = np.ones(200, dtype=bool)
    nearest = label_maps(nearest_votes(gaussians, camera, everyone), labels[None])[0]
    for labelled in (blended, nearest):
        assert set(np.unique(labelled)) == {0, 1, 2}
        assert (labelled[:, :20] != 2).all()
        assert (labelled[:, 20:] != 1).all()
    assert (blended == nearest)[nearest > 0].all()


def test_label_map_sees_each_cloud_where_it_is():
    gaussians, camera, labels = two_blobs()
    seen = label_map(gaussians, camera, labels)
    assert set(np.unique(seen[:, :20])) == {0, 1}
    assert set(np.unique(seen[:, 20:])) == {0, 2}


def test_label_map_wants_a_label_per_gaussian():
    gaussians, camera, labels = two_blobs()
    with pytest.raises(InputError, match="199 labels and 200 Gaussians"):
        label_map(gaussians, camera, labels[1:])


def test_labels_may_be_renumbered():
    gaussians, camera, labels = two_blobs()
    votes = blended_votes(gaussians, camera)
    first, second = label_maps(votes, np.stack([labels, 7 * labels]))
    assert (second == 7 * first).all()


@pytest.mark.parametrize("mixer", [MIXER, np.uint64(0), np.uint64(1)])
@pytest.mark.parametrize("labellings", [1, 2, 5])
def test_parties_have_the_labels_of_their_gaussians(monkeypatch, mixer, labellings):
    """Also where a poor mixer gives Gaussians with other labels the same key."""
    monkeypatch.setattr("splat_uff.hierarchy.labels.MIXER", mixer)
    labels = np.random.default_rng(0).integers(0, 4, (labellings, 100))
    parties = Parties.of(labels)
    assert (parties.labels[:, parties.of_gaussian] == labels).all()
    assert parties.labels.shape[1] == len(np.unique(labels, axis=1).T)
