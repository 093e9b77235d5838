"""Features as a superpoint's and a Gaussian's own part, and Adam on some rows."""

import numpy as np
import pytest
import torch

from splat_uff.features.blend import BlendRows
from splat_uff.features.grouped import Features, step_rows


def features(device="cpu", *, superpoints=3, seed=0):
    rng = np.random.default_rng(seed)
    return Features(
        rng.normal(size=(superpoints, 4)).astype(np.float32),
        rng.normal(size=(10, 4)).astype(np.float32),
        np.arange(10) % max(superpoints, 1),
        device=device,
    )


def stepped(features, steps=5):
    rng = np.random.default_rng(1)
    for _ in range(steps):
        taken = features.take(rng.permutation(10)[:4])
        target = torch.from_numpy(rng.normal(size=(4, 4)).astype(np.float32))
        (taken.features.cpu() - target).square().sum().backward()
        features.step(taken, 0.1)
    return features.all().cpu().numpy()


ON_CUDA = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=ON_CUDA)])
def test_rows_step_as_in_sparse_adam(device):
    rng = np.random.default_rng(0)
    start = torch.from_numpy(rng.normal(size=(20, 5)).astype(np.float32))
    ours = torch.nn.Parameter(start.clone().to(device))
    theirs = torch.nn.Parameter(start.clone())
    adams = [torch.optim.SparseAdam([each], lr=0.01) for each in (ours, theirs)]
    for _ in range(30):
        rows = torch.from_numpy(np.sort(rng.permutation(20)[:6]))
        gradient = torch.from_numpy(rng.normal(size=(6, 5)).astype(np.float32))
        step_rows(adams[0], ours, rows.to(device), gradient.to(device))
        theirs.grad = torch.sparse_coo_tensor(
            rows[None], gradient, theirs.shape, check_invariants=True
        )
        adams[1].step()
    assert (theirs.detach() != start).any()
    np.testing.assert_allclose(
        ours.detach().cpu().numpy(), theirs.detach().numpy(), rtol=1e-5, atol=1e-6
    )


def test_a_step_moves_what_was_taken_and_its_superpoints_take_others_along():
    scene = features()
    before = scene.all().numpy().copy()
    taken = scene.take(np.array([0, 3]))  # Both of superpoint 0.
    taken.features.sum().backward()
    scene.step(taken, 0.1)
    moved = (scene.all().numpy() != before).all(axis=1)
    assert moved.tolist() == [n % 3 == 0 for n in range(10)]
    own = np.abs(scene.all().numpy() - before)
    assert own[0].min() > 1.5 * own[6].max()  # Its own part moved, too.


def test_without_superpoints_only_what_was_taken_moves():
    scene = features(superpoints=0)
    before = scene.all().numpy().copy()
    taken = scene.take(np.array([0, 3]))
    taken.features.sum().backward()
    scene.step(taken, 0.1)
    moved = (scene.all().numpy() != before).any(axis=1)
    assert np.flatnonzero(moved).tolist() == [0, 3]


@pytest.mark.parametrize("superpoints", [0, 3])
def test_restored_features_go_on_as_before(superpoints):
    straight = stepped(features(superpoints=superpoints), steps=1)
    cut = features(superpoints=superpoints)
    stepped(cut, steps=3)
    again = features(superpoints=superpoints, seed=5)
    again.restore({name: array.copy() for name, array in cut.state().items()})
    assert (stepped(again) == stepped(cut)).all()
    assert (stepped(cut) != straight).any()


def test_pixels_alone_blend_as_before():
    starts, indices = np.array([0, 2, 2, 5]), np.array([4, 7, 1, 4, 3], np.int32)
    rows = BlendRows(starts, indices, np.arange(5, dtype=np.float32), np.array([0, 3]))
    shown, alone = rows.of_rows(np.array([2, 1]))
    assert shown.tolist() == [1, 4, 3]
    assert alone.starts.tolist() == [0, 3, 3]
    assert shown[alone.indices].tolist() == [1, 4, 3]
    assert alone.weights.tolist() == [2, 3, 4]
    assert alone.firsts.tolist() == [0, 2]
