"""The docs hold together: pages, links and citations exist, and the examples do what is said."""

import re
import shutil
import subprocess
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

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
FORMER = "METHOD" + ".md"
"""A text of ours that is in no copy of the project."""


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def prose_of(page: str) -> str:
    """A page without its code, in which brackets are no links."""
    text = re.sub(r"^ *```.*?^ *```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def links_of(page: str) -> list[tuple[str, str]]:
    """Paths, from docs/, and anchors of the links and pictures of a page that stay in the docs."""
    found = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if "://" not in target:
            path, _, anchor = target.partition("#")
            place = (DOCS / page).parent / path if path else DOCS / page
            found.append((place.resolve().relative_to(DOCS.resolve()).as_posix(), anchor))
    return found


def headings_of(page: str) -> list[str]:
    text = re.sub(r"^ *```.*?^ *```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)


def anchors_of(page: str) -> set[str]:
    """As mkdocs makes them of headings."""
    words = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings_of(page))
    return {re.sub(r"[-\s]+", "-", heading) for heading in words}


def files_that_cite() -> list[Path]:
    """All of our texts."""
    folders = ("splat_uff", "tests", "tools", "benchmarks", "docs", "configs")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    found = [
        path
        for path in found
        if path.suffix in (".py", ".md", ".toml") and "node_modules" not in path.parts
    ]
    return sorted([*found, *ROOT.glob("*.md"), ROOT / "mkdocs.yml", ROOT / "Makefile"])


def test_the_menu_lists_every_page_once():
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    menu = config.partition("\nnav:\n")[2].partition("\n\n")[0]
    assert sorted(re.findall(r": (\S+\.md)$", menu, flags=re.MULTILINE)) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_of_a_page_exist(page):
    for target, anchor in links_of(page):
        assert (DOCS / target).is_file(), target
        if anchor:
            assert anchor in anchors_of(target), f"{target}#{anchor}"


def test_every_page_is_reached_from_the_first():
    reached, waiting = {"index.md"}, ["index.md"]
    while waiting:
        targets = {target for target, _ in links_of(waiting.pop()) if target.endswith(".md")}
        waiting += sorted(targets - reached)
        reached |= targets
    assert sorted(reached) == PAGES


def test_pages_and_sections_that_are_cited_exist():
    for path in files_that_cite():
        text = path.read_text(encoding="utf-8")
        assert FORMER not in text, path
        for page in re.findall(r"\bdocs/[\w/-]+\.md\b", text):
            assert (ROOT / page).is_file(), f"{path} cites {page}"
        if path.suffix == ".py":
            cited = re.findall(r"\bdocs/([\w/-]+\.md)(?:, | \()\"([^\"\n]+)\"", text)
            for page, section in cited:
                assert section in headings_of(page), f"{path} cites {section} of {page}"


def test_the_site_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocstrings_handlers.python")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        elsewhere = r"<(?:script|img|iframe)[^>]*src=.?https?:|<link[^>]*href=.?https?:|@import"
        assert not re.search(elsewhere, text), page


def examples_of(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text_of(page), flags=re.DOTALL)


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
