"""The paper's tables and figures of the toy scene: complete, kept, and made again when due."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.cli import main
from splat_uff.errors import InputError
from splat_uff.paper import methods, tables
from splat_uff.paper.figures import spread_apart
from splat_uff.paper.methods import Choices
from splat_uff.paper.tables import (
    consistency_table,
    covering_table,
    negatives_table,
    variants_table,
)
from splat_uff.paper.write import write_paper

pytestmark = pytest.mark.slow
SMALL = ("--gaussians.steps", "300", "--features.steps", "60", "--features.pixels", "256")
PICTURES = ("consistency.png", "features.png", "figure7.png", "segments.png")


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("runs") / "toy"))


@pytest.fixture(scope="module")
def paper(run, tmp_path_factory):
    """Folder of the tables, from the command, and what it printed as its last lines."""
    output = tmp_path_factory.mktemp("paper") / "toy"
    command = ["paper", "--scene", "toy", "--run", str(run), "--output", str(output)]
    main([*command, "--sources", "3"])
    return output


@pytest.fixture(scope="module")
def record(paper):
    return json.loads((paper / "paper.json").read_text())


def test_paper_has_every_table_and_picture(paper):
    page = (paper / "paper.md").read_text()
    for title in ("NC, normalized covering", "Table 5", "Table 6", "Four negatives", "Figure 7"):
        assert title in page
    for file in PICTURES:
        assert f"({file})" in page
        with Image.open(paper / file) as image:
            assert np.asarray(image.convert("L")).std() > 5
    assert "nan" not in page
    assert "None" not in page


def test_paper_compares_all_methods_at_all_levels(record):
    assert list(record["methods"]) == [
        "ours",
        "the paper's recipe, cuts to the root",
        "the paper's recipe, cuts 0.01 to 0.50",
        "SAM, the given masks",
        "SAM3D",
        "DFF, rendered",
        "DFF, on surfaces",
        "LeRF, best scale",
        "LSeg, 2D features",
        "ceiling, true labels",
    ]
    for scores in record["methods"].values():
        assert all(0 <= scores["nc"][level] <= 1 for level in ("objects", "collections", "scene"))
    for name in ("ours", "SAM3D", "DFF, rendered", "DFF, on surfaces", "LSeg, 2D features"):
        assert list(record["methods"][name]["vc"]) == ["10", "45", "90", "135"]


def test_nc_of_lifted_masks_grows_with_the_views(record):
    by_views = [each["mean"] for each in record["methods"]["SAM3D"]["by_views"]]
    assert len(by_views) == 3
    assert by_views == sorted(by_views)
    assert by_views[-1] == record["methods"]["SAM3D"]["nc"]["mean"]


def test_four_negatives_refitted_are_the_run_itself(record):
    assert record["negatives"]["ours"]["4"]["nc"] == record["methods"]["ours"]["nc"]


def test_a_second_call_runs_nothing_and_says_the_same(run, paper, record, monkeypatch):
    for name in ("fit_features", "lift_masks", "query_scores", "evaluate", "masks_covering"):
        monkeypatch.setattr(methods, name, lambda *_, name=name, **__: pytest.fail(f"{name} ran"))
    again = write_paper(run, paper, Choices(sources=3))
    dated = ("date", "machine")
    assert {k: v for k, v in again.items() if k not in dated} == {
        k: v for k, v in record.items() if k not in dated
    }


def test_only_what_changed_is_made_again(run, paper, tmp_path, monkeypatch):
    output = shutil.copytree(paper, tmp_path / "paper")
    for name in ("fit_features", "query_scores", "evaluate"):
        monkeypatch.setattr(methods, name, lambda *_, name=name, **__: pytest.fail(f"{name} ran"))
    (output / "scores" / "SAM, given masks.json").write_text("{ torn")
    record = write_paper(run, output, Choices(sources=2))
    assert len(record["methods"]["SAM3D"]["by_views"]) == 2


def test_features_of_ones_own_take_the_place_of_the_descriptor(run, paper, toy, tmp_path):
    output = shutil.copytree(paper, tmp_path / "paper")
    capture = read_capture(toy, size=64)
    rng = np.random.default_rng(0)
    for split, views in (("train", capture.train), ("val", capture.val)):
        (tmp_path / "features" / split).mkdir(parents=True)
        for view in views:
            found = rng.standard_normal((8, 8, 12))
            np.save(tmp_path / "features" / split / f"{view.name}.npy", found)
    record = write_paper(run, output, Choices(tmp_path / "features", sources=3))
    assert record["features"] == "features"
    assert "LeRF, best scale" not in record["methods"]  # One scale is no choice,
    assert record["methods"]["LSeg, 2D features"]["vc"] == {}  # and there are no rotated maps.
    before = json.loads((paper / "paper.json").read_text())["methods"]
    assert record["methods"]["DFF, rendered"]["nc"] != before["DFF, rendered"]["nc"]
    assert record["methods"]["SAM3D"] == before["SAM3D"]


def test_paper_wants_ground_truth(run, toy, tmp_path):
    blind = shutil.copytree(toy, tmp_path / "toy")
    shutil.rmtree(blind / "gt_seg")
    copied = shutil.copytree(run, tmp_path / "run")
    config = (copied / "config.toml").read_text()
    (copied / "config.toml").write_text(config.replace(str(toy), str(blind)))
    with pytest.raises(InputError, match="no ground truth"):
        write_paper(copied, tmp_path / "paper", Choices())
    assert not (tmp_path / "paper").exists()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"features": "nowhere"}, "no folder nowhere"),
        ({"sam_checkpoint": "nowhere.pth"}, "no checkpoint nowhere.pth"),
    ],
)
def test_paper_says_what_is_missing_before_it_runs_anything(run, tmp_path, choices, message):
    given = Choices(**{name: Path(value) for name, value in choices.items()})
    with pytest.raises(InputError, match=message):
        write_paper(run, tmp_path / "paper", given)
    assert not (tmp_path / "paper").exists()


def test_paper_wants_the_run_of_its_scene(run, tmp_path):
    with pytest.raises(InputError, match="pass its own --scene"):
        write_paper(run, tmp_path / "paper", Choices(), data=tmp_path)
    assert not (tmp_path / "paper").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "either --scene NAME or --data DIR"),
        (("--scene", "toy", "--sources", "0"), "at least 1 view"),
        (("--scene", "toi"), 'no scene "toi"'),
    ],
)
def test_paper_refuses_in_one_line(flags, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["paper", *flags])
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_tables_leave_out_what_is_not_known():
    methods = {"ours": {"nc": dict.fromkeys(("objects", "collections", "scene", "mean"), 0.5)}}
    assert "| ours | 0.500 | 0.500 | 0.500 | 0.500 | – | – |" in covering_table(methods)  # noqa: RUF001
    assert "no VC" in consistency_table(methods)


def test_variants_table_quotes_the_published_figure_of_each_variant(monkeypatch):
    nc = dict.fromkeys(("objects", "collections", "scene", "mean"), 0.5)
    methods = {name: {"nc": nc} for name in ("DFF, on surfaces", "DFF, rendered")}
    monkeypatch.setattr(tables, "PUBLISHED", tables.PUBLISHED[::-1])
    table = variants_table(methods)
    assert "| *LSeg + DFF, rendered* | 0.164 |" in table
    assert "| *LSeg + DFF, on surfaces* | 0.082 |" in table


def test_consistency_table_gives_the_exact_depth_of_ours_wherever_it_stands():
    found = {"mean": 0.5, "standard_errors": {}}
    vc = {"10": {"published": found, "exact": found}}
    table = consistency_table({"SAM3D": {"vc": vc}, "ours": {"vc": vc}})
    assert "| ours, exact depth | 0.500 |" in table
    assert "SAM3D, exact" not in table


def test_negatives_table_says_how_much_longer_it_took():
    nc = {"mean": 0.5}
    found = {"1": {"nc": nc, "seconds": 10.0}, "4": {"nc": nc, "seconds": 14.0}}
    assert "| ours | 0.500 | 0.500 | 10 | 14 | +40 % |" in negatives_table({"ours": found})


def test_names_beside_lines_keep_their_order_and_do_not_cover_each_other():
    heights = [0.649, 0.62, 0.628, 0.44, 0.463, 0.99, 1.0]
    placed = spread_apart(heights)
    assert np.argsort(placed).tolist() == np.argsort(heights).tolist()
    assert np.diff(np.sort(placed)).min() > 0.045 - 1e-9
    assert max(placed) <= 1
    assert spread_apart([0.2, 0.8]) == [0.2, 0.8]
    assert spread_apart([]) == []
