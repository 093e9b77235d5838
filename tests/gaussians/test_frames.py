"""Frames that nerfstudio and gsplat leave beside their splats are found; nothing in them is run."""

import json
import os
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from splat_uff.gaussians.frames import find_frames
from tests.gaussians.scenes import ball_capture

TURN = Rotation.from_euler("xyz", [-60, 20, 100], degrees=True).as_matrix()
SHIFT, SCALE = np.array([0.3, -0.2, 0.5]), 0.4
MATRIX = np.eye(4)
MATRIX[:3] = SCALE * np.concatenate([TURN, SHIFT[:, None]], axis=1)


@pytest.fixture
def capture(tmp_path):
    folder = tmp_path / "capture"
    folder.mkdir()
    return replace(ball_capture(views=2), folder=folder)


@pytest.fixture
def splats(tmp_path):
    path = tmp_path / "outputs" / "splatfacto" / "exports" / "splat.ply"
    path.parent.mkdir(parents=True)
    return path


def write_dataparser(folder, **changes):
    record = {"transform": np.concatenate([TURN, SHIFT[:, None]], axis=1).tolist(), "scale": SCALE}
    (folder / "dataparser_transforms.json").write_text(json.dumps(record | changes))


@pytest.mark.parametrize("level", [0, 1, 2, "capture"])
def test_find_frames_reads_dataparser_transforms_near_splats_or_capture(splats, capture, level):
    folder = capture.folder if level == "capture" else splats.parents[level]
    write_dataparser(folder)
    (frame,) = find_frames(splats, capture)
    np.testing.assert_allclose(frame.frame_from_source, MATRIX, atol=1e-12)
    assert frame.path.parent == folder


def test_find_frames_looks_no_further_up(splats, capture):
    write_dataparser(splats.parents[3])
    assert find_frames(splats, capture) == []


def test_find_frames_knows_what_nerfstudio_applied_before(splats, capture):
    """A capture of `transforms.json` is in the frame after `applied_transform`, COLMAP's before."""
    applied = np.array([[1.0, 0, 0, 0.5], [0, 0, 1, 0], [0, -1, 0, 2]])
    record = {"applied_transform": applied.tolist(), "applied_scale": 3.0}
    (capture.folder / "transforms.json").write_text(json.dumps(record))
    write_dataparser(splats.parent)
    before, after = find_frames(splats, capture)
    point = np.array([0.2, -0.7, 1.1])
    normal = SCALE * (TURN @ point + SHIFT)
    np.testing.assert_allclose((before.frame_from_source @ [*point, 1])[:3], normal, atol=1e-12)
    # nerfstudio normalises the moved points by SCALE / 3 and the turn without what was applied.
    moved = applied[:, :3] @ point + applied[:, 3]
    found = (after.frame_from_source @ [*moved, 1])[:3]
    np.testing.assert_allclose(found, normal / 3, atol=1e-12)


@pytest.mark.parametrize("kind", ["json", "npy", "txt", "named"])
def test_find_frames_reads_a_matrix_however_it_is_written(splats, capture, kind):
    path = splats.parent / f"transform.{'json' if kind == 'named' else kind}"
    if kind == "npy":
        np.save(path, MATRIX)
    elif kind == "txt":
        np.savetxt(path, MATRIX, fmt="%.17g")
    else:
        path.write_text(
            json.dumps({"transform": MATRIX.tolist()} if kind == "named" else MATRIX.tolist())
        )
    (frame,) = find_frames(splats, capture)
    np.testing.assert_allclose(frame.frame_from_source, MATRIX, atol=1e-12)


def test_find_frames_reads_transform_of_the_newest_checkpoint(splats, capture):
    folder = splats.parents[1] / "ckpts"
    folder.mkdir()
    torch.save({"step": 1, "transform": torch.eye(4)}, folder / "ckpt_6999_rank0.pt")
    torch.save({"step": 2, "transform": torch.from_numpy(MATRIX)}, folder / "ckpt_29999_rank0.pt")
    (frame,) = find_frames(splats, capture)
    np.testing.assert_allclose(frame.frame_from_source, MATRIX, atol=1e-12)
    torch.save({"step": 2, "splats": {}}, folder / "ckpt_29999_rank0.pt")
    assert find_frames(splats, capture) == []


def test_find_frames_knows_runs_of_ours(splats, capture):
    moved = replace(capture, source_from_world=np.diag([2.0, 2, 2, 1]))
    (splats.parent / "hierarchy.npz").touch()
    (frame,) = find_frames(splats, moved)
    np.testing.assert_allclose(frame.frame_from_source, np.diag([0.5, 0.5, 0.5, 1]))


class Harm:
    """Leaves a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("ending", ["pt", "npy"])
def test_find_frames_runs_nothing(splats, capture, tmp_path, ending, capsys):
    harm = {"transform": Harm(tmp_path / "harm")}
    if ending == "pt":
        torch.save(harm, splats.parent / "ckpt_1_rank0.pt")
    else:
        (splats.parent / "transform.npy").write_bytes(pickle.dumps(harm))
    assert find_frames(splats, capture) == []
    assert not (tmp_path / "harm").exists()
    if ending == "pt":
        assert "no checkpoint of plain tensors" in capsys.readouterr().err


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 0},
        {"scale": "much"},
        {"scale": 10**400},
        {"scale": 1e300},
        {"scale": None},
        {"transform": [[1, 2], [3, 4]]},
        {"transform": np.diag([1.0, 1, -1, 1]).tolist()},
        {"transform": np.diag([1.0, 3, 1, 1]).tolist()},
        {"transform": "none"},
    ],
)
def test_a_dataparser_file_that_makes_no_sense_is_passed_over_in_one_line(
    splats, capture, changes, capsys
):
    write_dataparser(splats.parent, **changes)
    assert find_frames(splats, capture) == []
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "dataparser_transforms.json holds no transform and scale" in said


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\x93NUMPY\x01\x00", b"1 2\n3"])
@pytest.mark.parametrize("ending", ["json", "npy", "txt"])
def test_files_that_hold_no_matrix_are_passed_over(splats, capture, ending, content):
    (splats.parent / f"transform.{ending}").write_bytes(content)
    assert find_frames(splats, capture) == []
