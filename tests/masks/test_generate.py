"""Segment Anything over a capture: its real generator, with a small model of random weights."""

import dataclasses
import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from splat_uff.capture.records import Capture, View
from splat_uff.cli import main
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.config import GRID, Prompting, SamSettings
from splat_uff.masks.folders import read_masks
from splat_uff.masks.generate import write_masks_of, write_sam_masks
from splat_uff.masks.sam import EncodedBySam, SamSegmenter, fingerprint_of
from splat_uff.system.errors import InputError
from tests.baselines.test_prompts import small_sam  # noqa: F401

SIZE = 32
LOOSE = SamSettings(points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0)
"""A model of random weights is sure of nothing."""


def make_view(name, seed):
    rng = np.random.default_rng(seed)
    camera = Camera(np.eye(4), np.array([[30.0, 0, 16], [0, 30, 16], [0, 0, 1]]), SIZE, SIZE)
    image = np.concatenate([rng.random((SIZE, SIZE, 3)), np.ones((SIZE, SIZE, 1))], axis=2)
    return View(name, camera, image.astype(np.float32), source_size=(SIZE, SIZE))


@pytest.fixture
def capture(tmp_path):
    views = make_view("a", 0), make_view("b", 1)
    held_out = (make_view("c", 2),)
    return Capture("made", tmp_path, views, held_out, False, np.eye(4), masks="none")


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(b"stands for the weights in the fingerprint")
    return path


def times(folder):
    return {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*.png"))}


def test_sam_masks_are_those_of_its_generator_and_are_found_by_train(
    capture, checkpoint, small_sam  # noqa: F811
):  # fmt: skip
    from segment_anything import SamAutomaticMaskGenerator

    assert write_sam_masks(capture, small_sam, checkpoint, LOOSE) == 3
    generator = SamAutomaticMaskGenerator(
        small_sam, points_per_side=4, pred_iou_thresh=0.0, stability_score_thresh=0.0
    )
    pixels = (capture.train[0].image[..., :3] * 255 + 0.5).astype(np.uint8)
    expected = {entry["segmentation"].tobytes() for entry in generator.generate(pixels)}
    assert expected
    folder = capture.folder / "train_seg" / "a"
    found = {np.asarray(Image.open(p)).astype(bool).tobytes() for p in folder.glob("*.png")}
    assert found == expected
    assert [len(masks) > 0 for masks, _ in read_masks(capture)] == [True, True]
    assert (capture.folder / "val_seg" / "c" / "000.png").is_file()


def test_only_what_is_due_is_made(capture, checkpoint, small_sam):  # noqa: F811
    write_sam_masks(capture, small_sam, checkpoint, LOOSE)
    before = times(capture.folder)
    assert write_sam_masks(capture, small_sam, checkpoint, LOOSE) == 0
    assert times(capture.folder) == before
    (capture.folder / "train_seg" / "b" / "made_by.json").write_text(json.dumps({"key": "old"}))
    assert write_sam_masks(capture, small_sam, checkpoint, LOOSE) == 1
    other = SamSettings(points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    assert write_sam_masks(capture, small_sam, checkpoint, other) == 3
    checkpoint.write_bytes(b"other weights")
    assert write_sam_masks(capture, small_sam, checkpoint, other) == 3


def test_a_kill_leaves_whole_views_and_the_same_call_goes_on(
    capture, checkpoint, small_sam, monkeypatch  # noqa: F811
):  # fmt: skip
    from segment_anything import SamAutomaticMaskGenerator

    real, calls = SamAutomaticMaskGenerator.generate, []

    def generate(self, image):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, image)

    monkeypatch.setattr(SamAutomaticMaskGenerator, "generate", generate)
    with pytest.raises(KeyboardInterrupt):
        write_sam_masks(capture, small_sam, checkpoint, LOOSE)
    assert [path.name for path in (capture.folder / "train_seg").iterdir()] == ["a"]
    assert write_sam_masks(capture, small_sam, checkpoint, LOOSE) == 2


def test_masks_of_a_grid_by_an_earlier_version_stay(capture, checkpoint, small_sam):  # noqa: F811
    write_sam_masks(capture, small_sam, checkpoint, LOOSE)
    length = checkpoint.stat().st_size
    weights = hashlib.sha256(str(length).encode() + 2 * checkpoint.read_bytes()).hexdigest()[:16]
    for view, split in zip((*capture.train, *capture.val), ("train", "train", "val"), strict=True):
        said = f"{weights} {dataclasses.asdict(LOOSE)}".encode()
        pixels = (view.image[..., :3] * 255 + 0.5).astype(np.uint8).tobytes()
        made = json.loads(
            (capture.folder / f"{split}_seg" / view.name / "made_by.json").read_text()
        )
        assert made == {"key": hashlib.sha256(said + pixels).hexdigest()}


def test_other_clicks_make_other_masks(capture, checkpoint, small_sam):  # noqa: F811
    segmenter = SamSegmenter(small_sam, fingerprint_of(checkpoint))
    few = Prompting(prompts=10)
    assert write_sam_masks(capture, small_sam, checkpoint, LOOSE) == 3
    assert write_masks_of(capture, segmenter, LOOSE, few) == 3
    assert write_masks_of(capture, segmenter, LOOSE, few) == 0
    assert write_masks_of(capture, segmenter, LOOSE, Prompting(prompts=11)) == 3
    assert write_masks_of(capture, segmenter, LOOSE, GRID, keep=True) == 0


def test_adaptive_clicks_fall_on_the_scene(capture, small_sam, monkeypatch):  # noqa: F811
    clicked, real = [], EncodedBySam.answer

    def answer(self, points):
        clicked.extend(points.astype(int).tolist())
        return real(self, points)

    monkeypatch.setattr(EncodedBySam, "answer", answer)
    image = capture.train[0].image.copy()
    image[:, :20] = 0
    cut = replace(capture, train=(replace(capture.train[0], photo=image),), val=())
    write_masks_of(cut, SamSegmenter(small_sam, "small"), LOOSE, Prompting(prompts=30))
    assert clicked
    assert all(x >= 20 for x, _ in clicked)


def test_masks_from_elsewhere_are_not_replaced(capture, checkpoint, small_sam):  # noqa: F811
    theirs = capture.folder / "train_seg" / "b"
    theirs.mkdir(parents=True)
    Image.new("L", (SIZE, SIZE)).save(theirs / "0.png")
    with pytest.raises(InputError, match="masks from elsewhere"):
        write_sam_masks(capture, small_sam, checkpoint, LOOSE)
    assert write_sam_masks(capture, small_sam, checkpoint, LOOSE, folder=theirs.parent / "x") == 3


def test_settings_are_sams_own(small_sam):  # noqa: F811
    import inspect

    from segment_anything import SamAutomaticMaskGenerator

    known = inspect.signature(SamAutomaticMaskGenerator).parameters
    for field in dataclasses.fields(SamSettings):
        assert known[field.name].default == pytest.approx(field.default)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "no weights"),
        (("--sam-checkpoint", "nowhere.pth"), "no checkpoint nowhere.pth"),
        (("--sam-checkpoint", "nowhere.pth", "--size", "3"), "at least 16"),
        (("--pred-iou-thresh", "3"), "pred_iou_thresh is 3"),
    ],
)
def test_the_command_refuses_in_one_line(toy, flags, message, capsys, monkeypatch):
    monkeypatch.delenv("SPLAT_UFF_SAM_CHECKPOINT", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main(["masks", "--data", str(toy), *flags])
    assert stopped.value.code == 2
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(said) == 1
    assert message in said[0]


def test_the_environment_names_the_weights(toy, monkeypatch, capsys):
    monkeypatch.setenv("SPLAT_UFF_SAM_CHECKPOINT", "elsewhere.pth")
    with pytest.raises(SystemExit):
        main(["masks", "--data", str(toy)])
    assert "no checkpoint elsewhere.pth" in capsys.readouterr().err


def test_a_checkpoint_runs_nothing(tmp_path):
    from splat_uff.masks.sam import load_sam

    class Evil:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    torch.save({"weights": Evil()}, tmp_path / "sam.pth")
    with pytest.raises(InputError, match="is no checkpoint of weights"):
        load_sam(tmp_path / "sam.pth", "vit_b")


def test_sam_masks_of_two_views_never_meet(
    capture, checkpoint, small_sam, tmp_path  # noqa: F811
):  # fmt: skip
    twins = replace(capture, val=(make_view("a", 2),))
    with pytest.raises(InputError, match=r"both called a.*leave folder out"):
        write_sam_masks(twins, small_sam, checkpoint, LOOSE, folder=tmp_path / "masks")
    nested = replace(capture, train=(make_view("cam0", 0), make_view("cam0/000", 1)))
    with pytest.raises(InputError, match="cam0/000 would lie among those of view cam0"):
        write_sam_masks(nested, small_sam, checkpoint, LOOSE)
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]
    assert write_sam_masks(twins, small_sam, checkpoint, LOOSE) == 3


class Notes:
    """A guide that notes what it is asked and told."""

    fingerprint = "notes"

    def __init__(self):
        self.told = []

    def where(self, camera):
        return np.ones((SIZE, SIZE), bool)

    def seeds(self, camera):
        return np.array([[1.0 + len(self.told), 2.0]])

    def add(self, camera, masks):
        self.told.append(masks.packed.tobytes())


def test_a_guide_learns_all_photos_in_order_also_when_masks_are_there(capture, small_sam):  # noqa: F811
    few, model = Prompting(prompts=6), SamSegmenter(small_sam, "small")
    whole, again = Notes(), Notes()
    assert write_masks_of(capture, model, LOOSE, few, guide=whole) == 3
    assert len(whole.told) == 3
    made = capture.folder / "train_seg" / "b"
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    shutil.rmtree(made)
    assert write_masks_of(capture, model, LOOSE, few, guide=again) == 1
    assert again.told == whole.told
    assert {path.name: path.read_bytes() for path in made.iterdir()} == before
    assert write_masks_of(capture, model, LOOSE, few) == 3  # Without a guide, other masks.
