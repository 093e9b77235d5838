"""The paper's tables and figures of the toy scene: complete, kept, and made again when due."""

import json
import shutil
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from PIL import Image

from splat_uff.capture import read_capture
from splat_uff.cli import main
from splat_uff.paper import methods, tables
from splat_uff.paper.figures import (
    by_views_figure,
    consistency_figure,
    draw_consistency,
    spread_apart,
)
from splat_uff.paper.methods import Choices
from splat_uff.paper.tables import (
    consistency_table,
    covering_table,
    negatives_table,
    variants_table,
)
from splat_uff.paper.write import write_paper
from splat_uff.report.tables import COLUMNS, VC_ANGLES
from splat_uff.system.errors import InputError

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
    for name in ("ours", "DFF, rendered", "DFF, on surfaces", "LeRF, best scale", tables.CEILING):
        scores = record["methods"][name]
        assert 0 < scores["nc_fixed"]["mean"] <= scores["nc"]["mean"]
    for name in (
        *("ours", "SAM3D", "DFF, rendered", "DFF, on surfaces", "LSeg, 2D features"),
        tables.CEILING,
    ):
        assert list(record["methods"][name]["vc"]) == ["10", "45", "90", "135"]


def test_nc_of_lifted_masks_grows_with_the_views(record):
    by_views = [each["mean"] for each in record["methods"]["SAM3D"]["by_views"]]
    assert len(by_views) == 3
    assert by_views == sorted(by_views)
    assert by_views[-1] == record["methods"]["SAM3D"]["nc"]["mean"]


def test_four_negatives_refitted_are_the_run_itself(record):
    assert record["negatives"]["ours"]["4"]["nc"] == record["methods"]["ours"]["nc"]


def test_a_second_call_runs_nothing_and_says_the_same(run, paper, record, monkeypatch):
    for name in ("refit", "lift_masks", "query_scores", "evaluate", "masks_covering"):
        monkeypatch.setattr(methods, name, lambda *_, name=name, **__: pytest.fail(f"{name} ran"))
    again = write_paper(run, paper, Choices(sources=3))
    dated = ("date", "machine")
    assert {k: v for k, v in again.items() if k not in dated} == {
        k: v for k, v in record.items() if k not in dated
    }


def test_only_what_changed_is_made_again(run, paper, tmp_path, monkeypatch):
    output = shutil.copytree(paper, tmp_path / "paper")
    for name in ("refit", "query_scores", "evaluate"):
        monkeypatch.setattr(methods, name, lambda *_, name=name, **__: pytest.fail(f"{name} ran"))
    (output / "scores" / "SAM, given masks.json").write_text("{ torn")
    for path in (output / "scores").glob("*.json"):
        path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
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
    with pytest.raises(InputError, match="pass its own data"):
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


def test_covering_table_puts_one_cut_and_shares_of_the_ceiling_beside_nc():
    levels = ("objects", "collections", "scene", "mean")
    own, fixed, bound = (dict.fromkeys(levels, value) for value in (0.6, 0.4, 0.8))
    methods = {
        "ours": {"nc": own, "nc_fixed": fixed},
        "masks": {"nc": fixed},
        tables.CEILING: {"nc": bound, "nc_fixed": own},
    }
    table = covering_table(methods)
    assert "| mean | of the ceiling | one cut | of the ceiling |" in table
    assert "| ours | 0.600 | 0.600 | 0.600 | 0.600 | 0.750 | 0.400 | 0.667 |" in table
    assert "| masks | 0.400 | 0.400 | 0.400 | 0.400 | 0.500 | – |" in table  # noqa: RUF001


def test_consistency_table_shows_the_ceiling_and_our_share_of_it():
    found, bound = ({"mean": value, "standard_errors": {}} for value in (0.6, 0.8))
    methods = {
        "ours": {"vc": {"10": {"published": found}}, "ratios": {"vc": {"10": 0.75}}},
        tables.CEILING: {"vc": {"10": {"published": bound, "exact": bound}}},
    }
    table = consistency_table(methods)
    assert "| ceiling, true labels | 0.800 |" in table
    assert "| ceiling, true labels, exact depth | 0.800 |" in table
    assert "| ours, as a share of the ceiling | 0.750 |" in table


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
    assert "| ours | 0.500 | 0.500 | – | – | 10 | 14 | +40 % |" in negatives_table(  # noqa: RUF001
        {"ours": found}
    )


def texts_of(figure) -> dict[str, Bbox]:
    """The pixels of every text that a figure shows, and of the picture as it is saved."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found, unseen = {}, []
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        low, high = axis.get_view_interval()
        places = axis.get_ticklocs()
        labels = axis.get_ticklabels()  # Also of ticks beyond the ends, which are not drawn.
        unseen += [x for x, at in zip(labels, places, strict=True) if not low <= at <= high]
    for number, text in enumerate(figure.findobj(Text)):
        if text.get_visible() and text.get_text() and text not in unseen:
            # Of annotations without their arrows.
            found[f"{number} {text.get_text()}"] = Text.get_window_extent(text, canvas.renderer)
    inches = figure.get_tightbbox(canvas.renderer)
    found["picture"] = Bbox(inches.get_points() * figure.dpi)
    return found


def assert_apart(boxes: dict[str, Bbox], picture: Bbox) -> None:
    """No two texts overlap, and all lie in the picture."""
    for one, two in combinations(boxes, 2):
        assert not boxes[one].overlaps(boxes[two]), (one, two)
    for name, box in boxes.items():
        assert picture.x0 <= box.x0 < box.x1 <= picture.x1, name
        assert picture.y0 <= box.y0 < box.y1 <= picture.y1, name


def consistency(mean: float) -> dict:
    found = {"published": {"mean": mean, "standard_errors": {"mean": 0.01}}}
    return {"vc": dict.fromkeys(VC_ANGLES, found)}


@pytest.mark.parametrize("heights", ["equal", "low", "high", "spread"])
@pytest.mark.parametrize("count", [1, 2, 7, 8, 40])
def test_consistency_figure_names_every_method_and_none_over_another(count, heights):
    spans = {"equal": (0.6, 0.6), "low": (0, 0.05), "high": (0.97, 1), "spread": (0.1, 0.9)}
    means = np.linspace(*spans[heights], count)
    methods = {f"method {k}, of a rather long name": consistency(means[k]) for k in range(count)}
    figure = consistency_figure({**methods, "without VC": {}})
    boxes = texts_of(figure)
    picture = boxes.pop("picture")
    assert_apart(boxes, picture)
    named = [name for name in boxes if " method " in name]
    assert len(named) == count
    right = figure.axes[0].bbox.x1
    assert all(boxes[name].x0 > right for name in named), "names stand beside the lines"
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) >= min(count, 28), "no two methods look alike"


@pytest.mark.parametrize("views", [1, 2, 20])
@pytest.mark.parametrize("means", [(0.5, 0.5, 0.5, 0.5), (0, 0, 0, 0), (1, 0.99, 0.98, 1)])
def test_by_views_figure_has_no_name_over_another(means, views):
    scores = dict(zip(COLUMNS, means, strict=True))
    boxes = texts_of(by_views_figure([scores] * views, scores))
    assert_apart(boxes, boxes.pop("picture"))
    for name in ("SAM3D, objects", "SAM3D, collections", "SAM3D, mean", "ours, mean"):
        assert any(name in box for box in boxes)


def test_a_figure_as_saved_shows_its_longest_name_whole(tmp_path):
    widths = []
    for length in (1, 150):
        draw_consistency(tmp_path / "figure.png", {"m" * length: consistency(0.5)})
        with Image.open(tmp_path / "figure.png") as image:
            pixels = np.asarray(image.convert("L"))
        assert (pixels[:, [0, -1]] == 255).all(), "nothing is cut off at the sides"
        widths.append(pixels.shape[1])
    assert widths[1] > 2 * widths[0]


@given(
    st.lists(st.floats(-0.2, 1.2), max_size=30),
    st.floats(0.001, 0.04),
)
def test_spread_apart_keeps_the_order_and_moves_what_it_must(heights, gap):
    placed = np.array(spread_apart(heights, gap, low=-0.1, high=1.1))
    assert len(placed) == len(heights)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(placed[order]) > gap - 1e-9).all()
    if heights:
        assert placed.min() > -0.1 - 1e-9
        assert placed.max() < 1.1 + 1e-9


def test_spread_apart_leaves_what_is_apart_and_shares_the_room_of_what_is_not():
    assert spread_apart([0.2, 0.8], 0.045) == pytest.approx([0.2, 0.8])
    assert spread_apart([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])
    assert spread_apart([1.0, 0.99], 0.1) == pytest.approx([1.0, 0.9])
    assert spread_apart([], 0.045) == []
