"""Feature maps: what is read is what was written, and what is no feature map is one line."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from splat_uff.baselines.descriptor import CHANNELS, SIGMAS, describe
from splat_uff.baselines.maps import DIMENSION, describe_capture, read_maps
from splat_uff.system.errors import InputError
from tests.features.scenes import SIZE, tiny_scene


@pytest.fixture(scope="module")
def scene():
    return tiny_scene()


def write(folder, capture, *, channels=6, size=SIZE, split="train", ending="npy", seed=0):
    """Random unit features for the training views of a capture."""
    rng = np.random.default_rng(seed)
    (folder / split).mkdir(parents=True, exist_ok=True)
    maps = {}
    for view in capture.train:
        found = rng.standard_normal((size, size, channels)).astype(np.float32)
        found /= np.linalg.norm(found, axis=2, keepdims=True)
        path = folder / split / f"{view.name}.{ending}"
        if ending == "npy":
            np.save(path, found)
        else:
            torch.save(torch.from_numpy(found), path)
        maps[view.name] = found
    return maps


@pytest.mark.parametrize("ending", ["npy", "pt"])
def test_read_maps_gives_what_was_written(scene, tmp_path, ending):
    maps = write(tmp_path, scene.capture, ending=ending)
    found = read_maps(tmp_path, scene.capture)
    assert found.scales == (slice(0, 6),)
    assert found.share == 1
    assert found.val == ()
    for view, read in zip(scene.capture.train, found.train, strict=True):
        np.testing.assert_allclose(read, maps[view.name], atol=1e-3)


def test_read_maps_reads_tensors_in_the_old_format_of_torch(scene, tmp_path):
    (tmp_path / "train").mkdir()
    for view in scene.capture.train:
        path = tmp_path / "train" / f"{view.name}.pt"
        torch.save(torch.ones(4, 4, 3), path, _use_new_zipfile_serialization=False)
    assert read_maps(tmp_path, scene.capture).train[0].shape == (SIZE, SIZE, 3)


def test_read_maps_takes_endings_in_any_case_and_leaves_out_hidden_files(scene, tmp_path):
    for scale in ("fine", "coarse"):
        maps = write(tmp_path / scale, scene.capture)
        paths = sorted((tmp_path / scale / "train").iterdir())
        paths[0].rename(paths[0].with_suffix(".NPY"))
        for path in paths:
            path.with_name(f"._{path.name}").write_bytes(b"left by a Mac")
    (tmp_path / "__MACOSX" / "train").mkdir(parents=True)
    (tmp_path / ".hidden" / "train").mkdir(parents=True)
    found = read_maps(tmp_path, scene.capture)
    assert found.scales == (slice(0, 6), slice(6, 12))
    for view, read in zip(scene.capture.train, found.train, strict=True):
        np.testing.assert_allclose(read[..., 6:], maps[view.name], atol=1e-3)


def test_read_maps_finds_views_in_folders_and_with_dots_and_prefers_arrays(scene, tmp_path):
    names = ("cam0/000", "cam1/000", "frame.1", "frame.1.5")
    views = [
        replace(view, name=name) for view, name in zip(scene.capture.train, names, strict=True)
    ]
    for number, name in enumerate(names):
        path = tmp_path / "train" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.eye(4)[number].reshape(1, 1, 4))
        torch.save(torch.full((1, 1, 4), 0.5), tmp_path / "train" / f"{name}.pt")
    found = read_maps(tmp_path, replace(scene.capture, train=tuple(views)))
    for number, read in enumerate(found.train):
        np.testing.assert_array_equal(read[0, 0], np.eye(4)[number])


def test_long_features_are_reduced_and_keep_their_angles(scene, tmp_path):
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.standard_normal((150, 10)))[0].T
    (tmp_path / "train").mkdir()
    maps = []
    for view in scene.capture.train:
        found = (rng.standard_normal((SIZE, SIZE, 10)) @ basis).astype(np.float32)
        np.save(tmp_path / "train" / f"{view.name}.npy", found)
        maps.append(found / np.linalg.norm(found, axis=2, keepdims=True))
    found = read_maps(tmp_path, scene.capture)
    assert found.train[0].shape == (SIZE, SIZE, DIMENSION)
    assert found.share == pytest.approx(1)
    for read, known in zip(found.train, maps, strict=True):
        one, two = (each.reshape(SIZE * SIZE, -1)[:50].astype(np.float64) for each in (read, known))
        np.testing.assert_allclose(one @ one.T, two @ two.T, atol=5e-3)


def test_maps_of_another_size_are_resized(scene, tmp_path):
    (tmp_path / "train").mkdir()
    ramp = np.linspace(0.5, 1.5, 6)[None, :, None] * np.array([1.0, 0.0]) + np.array([0.0, 1.0])
    for view in scene.capture.train:
        np.save(tmp_path / "train" / f"{view.name}.npy", ramp.repeat(6, axis=0))
    found = read_maps(tmp_path, scene.capture).train[0]
    assert found.shape == (SIZE, SIZE, 2)
    assert (np.diff(found[0, :, 0].astype(np.float64)) > -1e-3).all()
    assert found[0, 0, 0] < 0.5 < found[0, -1, 0]


def test_folders_of_scales_are_joined_in_the_order_of_their_names(scene, tmp_path):
    fine = write(tmp_path / "scale_0", scene.capture, channels=3, seed=1)
    coarse = write(tmp_path / "scale_1", scene.capture, channels=2, seed=2)
    found = read_maps(tmp_path, scene.capture)
    assert found.scales == (slice(0, 3), slice(3, 5))
    name = scene.capture.train[0].name
    np.testing.assert_allclose(found.train[0][..., :3], fine[name], atol=1e-3)
    np.testing.assert_allclose(found.train[0][..., 3:], coarse[name], atol=1e-3)


class Evil:
    """Would run on being unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


BAD = {
    "flat": (
        lambda path: np.save(path, np.zeros((4, 4), np.float32)),
        r"float32 of shape \(4, 4\)",
    ),
    "whole": (lambda path: np.save(path, np.zeros((4, 4, 6), int)), "int64 of shape"),
    "empty": (lambda path: np.save(path, np.zeros((0, 4, 6), np.float32)), "of shape"),
    "nan": (lambda path: np.save(path, np.full((4, 4, 6), np.nan)), "not finite"),
    "text": (lambda path: path.write_bytes(b"no array"), "no feature map"),
    "cut": (lambda path: _cut(path), "no feature map"),
    "pickle": (
        lambda path: np.save(path, np.array([[[Evil()]]]), allow_pickle=True),
        "no feature map",
    ),
    "huge": (lambda path: _huge(path), "no feature map"),
    "other channels": (lambda path: np.save(path, np.ones((4, 4, 5))), "5 numbers a pixel"),
}


def _cut(path):
    np.save(path, np.ones((4, 4, 6)))
    path.write_bytes(path.read_bytes()[:-8])


def _huge(path):
    """A header that promises far more than there is."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (10**5, 10**5, 512)}
        np.lib.format.write_array_header_1_0(file, header)


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_feature_map_is_said_in_one_line(scene, tmp_path, kind):
    write(tmp_path, scene.capture)
    make, message = BAD[kind]
    path = tmp_path / "train" / f"{scene.capture.train[1].name}.npy"
    make(path)
    with pytest.raises(InputError, match=message) as caught:
        read_maps(tmp_path, scene.capture)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"a": 1}, Evil()])
def test_pt_files_hold_a_tensor_and_run_nothing(scene, tmp_path, content):
    write(tmp_path, scene.capture, ending="pt")
    torch.save(content, tmp_path / "train" / f"{scene.capture.train[0].name}.pt")
    with pytest.raises(InputError, match="no feature map"):
        read_maps(tmp_path, scene.capture)


def test_missing_maps_are_counted(scene, tmp_path):
    with pytest.raises(InputError, match="no folder"):
        read_maps(tmp_path / "nowhere", scene.capture)
    with pytest.raises(InputError, match="no train folder"):
        read_maps(tmp_path, scene.capture)
    write(tmp_path, scene.capture)
    for view in scene.capture.train[1:]:
        (tmp_path / "train" / f"{view.name}.npy").unlink()
    with pytest.raises(InputError, match="3 of 4 views"):
        read_maps(tmp_path, scene.capture)


def test_describe_knows_flat_from_striped_and_which_way_stripes_run():
    flat = np.full((40, 40, 3), 0.4)
    striped = flat + 0.2 * (np.arange(40) % 4 < 2)[None, :, None]
    found, across = describe(flat), describe(striped)
    down = describe(striped.swapaxes(0, 1).copy())
    assert found.shape == (40, 40, CHANNELS * len(SIGMAS))
    for scale in range(len(SIGMAS)):
        part = slice(scale * CHANNELS, (scale + 1) * CHANNELS)
        means, deviations, tensors = np.split(found[..., part], 3, axis=2)
        np.testing.assert_allclose(means[..., 0], 0.4, atol=1e-6)
        np.testing.assert_allclose(np.concatenate([deviations, tensors]), 0, atol=1e-3)
        middle = across[10:30, 10:30, part], down[10:30, 10:30, part]
        assert (middle[0][..., 6] > 0.1).all()  # Energy of the gradients,
        assert (middle[0][..., 7] > 0.1).all()  # which run across here
        assert (middle[1][..., 7] < -0.1).all()  # and down there.


def test_described_captures_are_standardised(scene):
    found = describe_capture(scene.capture, scene.gaussians)
    assert len(found.train) == len(scene.capture.train)
    assert [scale.stop for scale in found.scales] == [9, 18, 27, 36]
    flat = np.concatenate([each.reshape(-1, each.shape[2]) for each in found.train])
    flat = flat.astype(np.float64)
    assert np.abs(flat.mean(axis=0)).max() < 0.3
    varies = flat.std(axis=0) > 0  # Windows under a pixel see no deviation.
    assert varies.sum() >= 30
    assert np.abs(flat.std(axis=0)[varies] - 1).max() < 0.4
