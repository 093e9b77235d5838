"""The examples of the docs run and do what the text says of them."""

import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_tensor

from splat_uff.baselines.maps import read_maps
from splat_uff.capture import read_capture
from splat_uff.capture.rotated import ANGLES

DOCS = Path(__file__).parents[1] / "docs"


def examples_of(page: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)


def test_the_rasterizers_example_fits_its_image(capsys):
    (example,) = examples_of("rasterizer.md")
    exec(compile(example, "docs/rasterizer.md", "exec"), {})
    psnr = float(re.findall(r"PSNR ([\d.]+) dB", capsys.readouterr().out)[0])
    assert psnr > 30


class MeanColours:
    """Stands in for a model that encodes pictures: what it knows of one is its mean colour."""

    def eval(self):
        return self

    def encode_image(self, batch):
        return batch.mean(dim=(2, 3))

    def forward_features(self, batch):
        patches = torch.nn.functional.avg_pool2d(batch, 14)
        return {"x_norm_patchtokens": patches.flatten(2).transpose(1, 2)}


@pytest.fixture
def example(trained, tmp_path, monkeypatch):
    """Runs an example of docs/research/baselines.md by its number, after the first one."""
    shutil.copytree(trained, tmp_path / "runs" / "drums")
    monkeypatch.chdir(tmp_path)
    model = MeanColours()
    clip = SimpleNamespace(create_model_and_transforms=lambda *_, **__: (model, None, to_tensor))
    monkeypatch.setitem(sys.modules, "open_clip", clip)
    monkeypatch.setattr(torch.hub, "load", lambda *_: model)
    shared, *others = examples_of("research/baselines.md")

    def run(number: int, *replacement: str):
        text = others[number].replace(*replacement) if replacement else others[number]
        names = {}
        for part in (shared, text):
            exec(compile(part, "docs/research/baselines.md", "exec"), names)

    return run


def likeness(found, view) -> float:
    """Correlation of a map of mean colours with a photo of the same sides or a multiple."""
    height, width = found.shape[:2]
    photo = view.composite(np.ones(3))
    tall, wide = photo.shape[0] // height, photo.shape[1] // width
    coarse = photo.reshape(height, tall, width, wide, 3).mean(axis=(1, 3))
    return np.corrcoef(found.ravel(), coarse.ravel())[0, 1]


def test_the_example_of_clip_writes_every_view_at_every_scale(example, toy, tmp_path):
    example(1, "SCALES = 16, 30", "SCALES = 16, 3")
    folder, capture = tmp_path / "clip", read_capture(toy)
    assert [path.name for path in sorted(folder.iterdir())] == ["scale_00", "scale_01", "scale_02"]
    maps = read_maps(folder, capture)
    assert (len(maps.train), len(maps.val)) == (len(capture.train), len(capture.val))
    assert {angle: len(found) for angle, found in maps.rotated.items()} == {
        angle: len(capture.val) for angle in ANGLES
    }
    assert len(maps.scales) == 3
    for view in capture.train:
        found = np.load(folder / "scale_00" / "train" / f"{view.name}.npy")
        assert found.shape == (16, 16, 3)
        assert likeness(found.astype(np.float64), view) > 0.9


def test_the_example_of_dino_writes_every_view(example, toy, tmp_path):
    example(0)
    maps, capture = read_maps(tmp_path / "dino", read_capture(toy)), read_capture(toy)
    assert (len(maps.train), len(maps.val)) == (len(capture.train), len(capture.val))
    assert set(maps.rotated) == set(ANGLES)
    assert np.load(tmp_path / "dino" / "val" / "r_0.npy").shape == (40, 40, 3)


def test_the_example_of_lseg_turns_maps_round(example, toy, tmp_path):
    capture = read_capture(toy)
    for split, views in (("train", capture.train), ("val", capture.val)):
        (tmp_path / "lseg_maps" / split).mkdir(parents=True)
        for view in views:
            features = torch.arange(60.0).reshape(5, 3, 4)
            torch.save(features, tmp_path / f"lseg_maps/{split}/{view.name}_fmap_CxHxW.pt")
    example(2)
    maps = read_maps(tmp_path / "lseg", capture)
    assert (len(maps.train), len(maps.val)) == (len(capture.train), len(capture.val))
    found = np.load(tmp_path / "lseg" / "train" / f"{capture.train[0].name}.npy")
    np.testing.assert_array_equal(found[1, 2], [6, 18, 30, 42, 54])
