"""A training on CUDA is one on the CPU but for its speed; what has no GPU here is imitated.

Torch's operations of the last stages run on the CPU, too. That they mix no devices is seen on fake
tensors, which have a device and a shape but no content (sparse ones need a driver even so).
"""

import json

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from splat_uff.cli import main
from splat_uff.evaluate.score import evaluate
from splat_uff.features.cosines import pair_cosines_by_torch
from splat_uff.features.scene_tree import SceneSimilarity, SceneTree, branch_means_by_torch
from splat_uff.gaussians.ssim import mean_ssim_by_torch
from splat_uff.render.cuda import weights_of_pairs
from splat_uff.run.masks import training_masks
from splat_uff.run.open import open_run
from splat_uff.system import kernels, machine
from splat_uff.system.errors import InputError
from splat_uff.system.machine import choose_render_device
from splat_uff.training.frozen import FrozenScene, refit
from tests.devices import DEVICES, ON_CUDA
from tests.features.test_closed_form import random_merges

WITHIN = 0.02
"""Difference of NC that is no difference: of two seeds on `toy`, too."""


def nc_of(run, device):
    """NC of features, tree and labels made on a device over the Gaussians of a run."""
    scene = FrozenScene(run.gaussians, run.capture, training_masks(run), device=device)
    settings = run.provenance.settings
    _, hierarchy, _ = refit(scene, settings)
    gaussians = run.gaussians.to(device)
    found = evaluate(run.capture, gaussians, hierarchy, [], settings.evaluate, seed=0)
    return found.metrics["nc"]["mean"]


@pytest.mark.parametrize("device", DEVICES)
def test_features_tree_and_labels_by_torch_score_alike(device, trained, monkeypatch):
    run = open_run(trained)
    ours = nc_of(run, "cpu")
    monkeypatch.setattr(kernels, "numba_computes", lambda device: False)
    assert abs(nc_of(run, device) - ours) < WITHIN


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=ON_CUDA)])
def test_a_whole_training_scores_alike(device, toy, tmp_path):
    found = []
    for where in ("cpu", device):
        output = tmp_path / where
        main(["train", "--scene", "toy", "--device", where, "--output", str(output)])
        found.append(json.loads((output / "metrics.json").read_text()))
    ours, theirs = found
    assert abs(ours["nc"]["mean"] - theirs["nc"]["mean"]) < WITHIN
    assert abs(ours["psnr"] - theirs["psnr"]) < 0.5


CASES = {
    "ssim": lambda: mean_ssim_by_torch(
        torch.rand(9, 8, 3, device="cuda"), torch.rand(9, 8, 3, device="cuda")
    ),
    "cosines": lambda: pair_cosines_by_torch(
        torch.rand(9, 4, device="cuda"), np.zeros((5, 2), np.int64)
    ),
    "branches": lambda: branch_means_by_torch(torch.rand(7, 4, device="cuda"), seven_leaves()),
    "weights": lambda: weights_of_pairs(
        torch.rand(9, 2, device="cuda"),
        torch.rand(9, 3, device="cuda"),
        torch.rand(9, device="cuda"),
        *torch.zeros(2, 12, dtype=torch.int64, device="cuda").unbind(0),
        torch.zeros(5, dtype=torch.int64, device="cuda"),
        2,
    ),
}


def seven_leaves():
    return SceneSimilarity(SceneTree(np.arange(14) % 7, random_merges(np.random.default_rng(0), 7)))


@pytest.mark.skipif(torch.version.cuda is None, reason="this build of torch knows no CUDA")
@pytest.mark.parametrize("case", CASES)
def test_torch_operations_mix_no_devices(case):
    with FakeTensorMode():
        assert CASES[case]().device.type == "cuda"


@pytest.fixture
def card_without_kernels(monkeypatch):
    """A machine with a card on which gsplat has no kernels, as without a compiler."""

    def fail(*tensors):
        raise AttributeError("'NoneType' object has no attribute 'x'\nand more")

    for cached in (machine._trouble_of_gsplat, machine._notice_once):
        cached.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "ones", lambda *shape, device: None)
    monkeypatch.setattr("gsplat.quat_scale_to_covar_preci", fail)
    yield
    for cached in (machine._trouble_of_gsplat, machine._notice_once):
        cached.cache_clear()


def test_a_card_without_kernels_leaves_it_to_the_cpu_and_says_so(card_without_kernels, capsys):
    assert choose_render_device("auto") == "cpu"
    assert choose_render_device("auto") == "cpu"
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("gsplat's CUDA kernels do not run: 'NoneType' object") == 1
    assert "and more" not in said


def test_cuda_without_kernels_is_refused(card_without_kernels):
    with pytest.raises(InputError, match=r"gsplat's CUDA kernels do not run: .*docs/gpu\.md"):
        choose_render_device("cuda")
    assert choose_render_device("cpu") == "cpu"
