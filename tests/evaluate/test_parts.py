"""Parts alone: silhouettes, borders and colours of selections against true objects."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from splat_uff.capture import GroundTruth, View, read_capture
from splat_uff.cli import main
from splat_uff.evaluate.part_choice import (
    best_masks,
    best_nodes,
    node_members,
    object_votes,
    true_members,
)
from splat_uff.evaluate.parts import (
    AloneView,
    PartTruth,
    border_f_score,
    render_part,
    score_parts,
    silhouette_iou,
)
from splat_uff.hierarchy.dendrogram import Dendrogram
from splat_uff.hierarchy.labels import label_map
from splat_uff.run.open import open_run
from splat_uff.scenes import builtin_parts
from splat_uff.scenes.builtin_parts import render_parts
from splat_uff.system.errors import InputError
from tests.hierarchy.test_labels import two_blobs


def square(left=10, top=10, side=12, size=40):
    picture = np.zeros((size, size), bool)
    picture[top : top + side, left : left + side] = True
    return picture


@pytest.mark.parametrize(("shift", "score"), [(0, 1), (1, 1), (2, 1), (3, None)])
def test_border_f_score_forgives_two_pixels(shift, score):
    found = border_f_score(square(10 + shift), square())
    assert found == score if score else 0.3 < found < 1
    assert found == border_f_score(square(), square(10 + shift))


def test_border_f_score_is_what_all_pairs_of_border_pixels_say():
    ours, true = square(13), square()
    borders = []
    for left in (13, 10):
        ring = square(left)
        ring[11:21, left + 1 : left + 11] = False
        borders.append(np.argwhere(ring))
    distances = np.linalg.norm(borders[0][:, None] - borders[1], axis=2)
    precision, recall = (distances.min(axis=axis) <= 2 for axis in (1, 0))
    p, r = precision.mean(), recall.mean()
    assert 0.3 < p < 1
    assert border_f_score(ours, true) == pytest.approx(2 * p * r / (p + r))


def test_border_f_score_of_empty_silhouettes_and_of_the_edge_of_the_picture():
    nothing, everything = np.zeros((9, 9), bool), np.ones((9, 9), bool)
    assert border_f_score(nothing, nothing) == border_f_score(everything, everything) == 1
    assert border_f_score(nothing, square()[:9, :9] | nothing) == 1
    assert border_f_score(np.zeros((40, 40), bool), square()) == 0
    # An object that leaves the picture has no border there, so all of its border is one line.
    half, more = np.zeros((40, 40), bool), np.zeros((40, 40), bool)
    half[:, :20] = more[:, :22] = True
    assert border_f_score(half, more) == 1
    more[:, :23] = True
    assert border_f_score(half, more) == 0
    assert border_f_score(half, ~half) == 1  # The two borders are neighbours.


def test_silhouette_iou_by_hand():
    assert silhouette_iou(square(13), square()) == pytest.approx(9 * 12 / (15 * 12))
    assert silhouette_iou(square(), ~square()) == 0
    assert silhouette_iou(np.zeros((3, 3), bool), np.zeros((3, 3), bool)) == 1


def blobs():
    """Two clouds of other colours, and as their truth what each looks like alone."""
    gaussians, camera, labels = two_blobs()
    colours = torch.from_numpy(np.where(labels[:, None] == 1, 1.2, -1.2)).float()[:, None]
    gaussians = replace(gaussians, sh0=colours.expand(-1, -1, 3).contiguous())
    chosen = np.stack([labels == 1, labels == 2])
    seen = label_map(gaussians, camera, labels)
    together = render_part(gaussians, labels > 0, camera).astype(np.float32)
    truth = GroundTruth(seen, (seen > 0).astype(np.int32))
    view = View("r_0", camera, np.dstack([together[..., :3], np.ones(seen.shape)]), truth)
    alone = []
    for number, members in enumerate(chosen, 1):
        drawn = render_part(gaussians, members, camera)
        inside = drawn[..., 3] >= 0.5
        picture = drawn[..., :3]
        alone.append(
            (AloneView(0, 0, 0, picture, picture, inside, inside & (seen == number), inside),)
        )
    return gaussians, chosen, PartTruth(("a", "b"), (view,), tuple(alone))


def test_score_parts_of_the_truth_itself_is_perfect():
    gaussians, chosen, truth = blobs()
    scores = score_parts(gaussians, chosen, truth)
    for name in ("iou", "border_f", "iou_seen"):
        np.testing.assert_array_equal(getattr(scores, name), 1)
    assert (scores.psnr == 100).all()
    assert (scores.psnr_photo > 50).all()
    assert (scores.never_seen == 0).all()
    assert scores.views.tolist() == [1, 1]
    record = scores.record()
    assert record["mean"]["iou"] == 1
    assert list(record["objects"]) == ["a", "b"]
    assert json.dumps(record, allow_nan=False)


def test_score_parts_windows_are_where_they_say():
    gaussians, chosen, truth = blobs()
    small = []
    for (each,) in truth.alone:
        rows, columns = (np.flatnonzero(each.inside.any(axis=axis)) for axis in (1, 0))
        window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        names = ("colours", "in_scene", "inside", "visible", "seen")
        cut = {name: getattr(each, name)[window] for name in names}
        small.append((replace(each, top=int(rows[0]), left=int(columns[0]), **cut),))
    found = score_parts(gaussians, chosen, replace(truth, alone=tuple(small)))
    assert found.record() == score_parts(gaussians, chosen, truth).record()


def test_a_floater_lowers_every_score():
    gaussians, chosen, truth = blobs()
    clean = score_parts(gaussians, chosen, truth)
    stray = chosen.copy()
    stray[0, 100:130] = True  # Beside the first cloud: silhouette and border.
    found = score_parts(gaussians, stray, truth)
    assert found.iou[0] < 0.95
    assert found.border_f[0] < 0.95
    assert found.psnr[0] > 50  # Inside its silhouette it is as it was.
    assert found.iou[1] == clean.iou[1] == 1
    means = gaussians.means.clone()
    means[150] = torch.tensor([-0.5, 0.0, 1.0])  # A dark one before the first cloud.
    hiding = score_parts(gaussians.moved(means), stray | (np.arange(200) == 150), truth)
    assert hiding.psnr[0] < 40


def test_nothing_chosen_scores_nothing():
    gaussians, chosen, truth = blobs()
    chosen[1] = False
    found = score_parts(gaussians, chosen, truth)
    assert found.iou.tolist() == [1, 0]
    assert found.border_f[1] == 0
    assert found.psnr[1] < 20


def test_pixels_that_were_never_seen_are_left_out_and_counted():
    gaussians, chosen, truth = blobs()
    (first,), second = truth.alone
    # Half as much again above the cloud, which no view showed, and which nobody could fit.
    rows = np.flatnonzero(first.inside.any(axis=1))
    columns = np.flatnonzero(first.inside.any(axis=0))
    strip = np.zeros_like(first.inside)
    strip[rows[0] - 6 : rows[0], columns[0] : columns[-1] + 1] = True
    larger = replace(
        first,
        inside=first.inside | strip,
        seen=first.inside & ~strip,
        colours=np.where(strip[..., None], np.float32(0), first.colours),
    )
    found = score_parts(gaussians, chosen, replace(truth, alone=((larger,), second)))
    assert found.iou[0] < 0.9
    assert found.iou_seen[0] == 1
    assert found.psnr[0] < 15
    assert found.psnr_seen[0] == 100
    assert found.never_seen[0] == pytest.approx(strip.sum() / larger.inside.sum())
    blind = replace(first, seen=np.zeros_like(first.seen))
    found = score_parts(gaussians, chosen, replace(truth, alone=((blind,), second)))
    assert found.record()["objects"]["a"]["iou_seen"] is None
    assert found.never_seen[0] == 1
    assert found.means()["iou_seen"] == 1  # The mean over the objects that have one.


def test_views_with_a_few_pixels_do_not_count():
    gaussians, chosen, truth = blobs()
    (first,), second = truth.alone
    speck = np.zeros_like(first.inside)
    speck.flat[np.flatnonzero(first.inside)[:19]] = True
    found = score_parts(
        gaussians, chosen, replace(truth, alone=((replace(first, inside=speck),), second))
    )
    assert found.views.tolist() == [0, 1]
    assert found.record()["objects"]["a"]["iou"] is None
    assert found.means()["iou"] == 1


def test_score_parts_says_what_does_not_fit():
    gaussians, chosen, truth = blobs()
    with pytest.raises(InputError, match="expected one for each of 2 objects, of 200 Gaussians"):
        score_parts(gaussians, chosen[:1], truth)


def test_best_nodes_finds_the_node_of_each_object_by_hand():
    # Leaves 0-5 on groups 6 (0, 1), 7 (2, 3), 8 (4, 5); 9 merges 6 and 7; the root merges all.
    parents = np.array([6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 10])
    tree = Dendrogram(parents, np.array([0.0] * 9 + [0.5, 1.0]), 6)
    votes = np.zeros((6, 5))
    votes[:4, 1] = 1  # Object 1 is node 9,
    votes[4, 2], votes[5, 2], votes[5, 0] = 3, 1, 2  # 2 node 8, but for some background,
    votes[2, 3] = 0.5  # and 3 a little of leaf 2. Nobody votes for 4.
    nodes, ious = best_nodes(tree, votes)
    assert nodes.tolist() == [9, 8, 7, -1]
    np.testing.assert_allclose(ious, [4 / 4.5, 4 / 6, 0.5 / 2.5, 0])
    assert node_members(tree, nodes).astype(int).tolist() == [
        [1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 1],
        [0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0],
    ]


def test_best_nodes_never_is_a_node_below_a_group():
    # Leaf 2 hangs on the root's group 4, below which 3 merges the others: no cut has node 3.
    tree = Dendrogram(np.array([3, 3, 4, 4, 4]), np.array([0.0, 0, 0, 0.2, 0.9]), 3)
    votes = np.array([[0.0, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert best_nodes(tree, votes)[0].tolist() == [4, 4]


def test_best_nodes_are_the_best_of_all_by_brute_force():
    rng = np.random.default_rng(3)
    parents = np.array([8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14])
    tree = Dendrogram(parents, np.array([0.0] * 12 + [0.3, 0.4, 1.0]), 8)
    votes = rng.random((8, 4)) ** 4
    nodes, ious = best_nodes(tree, votes)
    everyone = np.arange(8, 15)
    members = node_members(tree, everyone)
    for k in range(3):
        each = [
            votes[inside, k + 1].sum() / (votes[inside].sum() + votes[~inside, k + 1].sum())
            for inside in members
        ]
        assert ious[k] == pytest.approx(max(each))
        assert nodes[k] == everyone[np.argmax(each)]


def test_best_masks_takes_the_best_set_and_says_where_there_is_none():
    votes = np.array([[0.0, 1, 0], [0, 1, 0], [1, 0, 0]])
    sets = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0]], bool)
    chosen, ious = best_masks(sets, votes)
    assert chosen.tolist() == [1, -1]
    assert ious.tolist() == [1, 0]
    assert best_masks(sets[:0], votes)[0].tolist() == [-1, -1]


def test_object_votes_and_true_members_find_the_clouds():
    gaussians, chosen, truth = blobs()
    votes = object_votes(gaussians, truth.views, 2)
    assert votes.shape == (200, 3)
    members = true_members(votes)
    voting = votes.any(axis=1)
    assert (members == (chosen & voting)).mean() > 0.97
    with pytest.raises(InputError, match="ground truth"):
        object_votes(gaussians, [replace(truth.views[0], truth=None)], 2)
    with pytest.raises(InputError, match="shows object 2, but there are 1"):
        object_votes(gaussians, truth.views, 1)


@pytest.fixture(scope="module")
def toy_truth(toy):
    capture = read_capture(toy, size=64)
    return capture, render_parts(capture)


def test_render_parts_shows_each_object_where_the_scene_does(toy_truth):
    capture, truth = toy_truth
    assert len(truth.names) == len(truth.alone) == 10
    pixels = 0
    for number, pictures in enumerate(truth.alone, 1):
        assert [each.view for each in pictures] == list(range(6))
        for each in pictures:
            view = capture.val[each.view]
            assert view.truth is not None
            inside = each.placed(each.inside, view.camera)
            shown = view.truth.objects == number
            assert (shown & ~inside).sum() <= 0.1 * shown.sum() + 8  # But for halves of pixels,
            visible = each.placed(each.visible, view.camera)
            assert not (visible & ~(shown & inside)).any()
            assert not (each.seen & ~each.inside).any()
            # In the light of its scene, an object alone is what the photo shows of it.
            lit = each.placed(each.in_scene.astype(np.float32), view.camera)[visible]
            np.testing.assert_allclose(lit, view.image[..., :3][visible], atol=0.02)
            pixels += int(visible.sum())
    assert pixels > 1000


def test_render_parts_knows_what_no_training_view_sees(toy_truth):
    """Where a box stands on the table, neither the table nor the box was seen."""
    _, truth = toy_truth
    never = {
        name: 1 - np.mean([each.seen.sum() / each.inside.sum() for each in pictures])
        for name, pictures in zip(truth.names, truth.alone, strict=True)
    }
    assert 0.02 < never["table/top"] < 0.4
    assert never["ball/sphere"] < 0.15
    # What is visible from a held-out view is visible from near it, too.
    for pictures in truth.alone:
        for each in pictures:
            assert (each.visible & ~each.seen).sum() <= 0.1 * each.visible.sum() + 2


def test_render_parts_depends_on_no_size_of_the_world(toy_truth):
    capture, _ = toy_truth
    scale = np.diag([2.0, 2, 2, 1])
    moved = [
        replace(view, camera=replace(view.camera, world_from_cam=_moved(view, scale)))
        for view in capture.val[:1]
    ]
    other = replace(
        capture,
        val=tuple(moved),
        source_from_world=capture.source_from_world @ np.linalg.inv(scale),
    )
    held = builtin_parts._show(
        builtin_parts.build_scene(builtin_parts.RECIPES["toy"].build()), other.val[0], other
    )
    view = capture.val[0]
    assert view.truth is not None
    assert (held.objects == view.truth.objects).mean() > 0.99


def _moved(view, scale):
    pose = view.camera.world_from_cam.copy()
    pose[:3, 3] = scale[:3, :3] @ pose[:3, 3]
    return pose


def test_render_parts_refuses_other_captures(toy, tmp_path):
    capture = read_capture(toy, size=64)
    with pytest.raises(InputError, match="only built-in scenes can be rendered without"):
        render_parts(replace(capture, folder=tmp_path))
    record = tmp_path / "scene.json"
    for text in ("[", "[]", "{}", '{"name": "kitchen"}', '{"name": ["toy"]}'):
        record.write_text(text)
        with pytest.raises(InputError, match="no built-in scene"):
            render_parts(replace(capture, folder=tmp_path))
    ids = capture.val[0].truth
    assert ids is not None
    other = GroundTruth(np.roll(ids.objects, 9, axis=1), ids.collections)
    changed = (replace(capture.val[0], truth=other), *capture.val[1:])
    with pytest.raises(InputError, match="another version"):
        render_parts(replace(capture, val=changed))


def test_metrics_parts_of_a_run_and_its_ceiling(trained, tmp_path, capsys):
    folder = Path(shutil.copytree(trained, tmp_path / "toy"))
    main(["metrics", str(folder), "--parts", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((folder / "parts.json").read_text())
    assert found["ceiling"]["mean"]["iou"] > 0.8
    assert 0.4 < found["ours"]["mean"]["iou"] < 1
    assert found["ours"]["mean"]["never_seen"] == found["ceiling"]["mean"]["never_seen"] > 0
    assert set(found["ours"]["objects"]) == set(found["nodes"])
    assert (folder / "parts.png").stat().st_size > 10_000
    run = open_run(folder, finished=True)
    assert all(run.walk.holds(node) for node in found["nodes"].values())


def test_metrics_parts_prints_a_table(trained, tmp_path, capsys, monkeypatch):
    folder = Path(shutil.copytree(trained, tmp_path / "toy"))
    capture = read_capture(open_run(folder).capture.folder, size=64)
    few = replace(capture, val=capture.val[:1], train=capture.train[:2])
    truth = render_parts(few)
    monkeypatch.setattr(builtin_parts, "render_parts", lambda _: truth)
    main(["metrics", str(folder), "--parts"])
    said = capsys.readouterr().out
    assert "true labels" in said
    assert "The worst" in said
    assert any(name in said for name in truth.names)


def test_metrics_parts_says_what_it_cannot_score(trained, toy, tmp_path, capsys):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    data = Path(shutil.copytree(toy, tmp_path / "mine"))
    (data / "scene.json").unlink()
    config = folder / "config.toml"
    config.write_text(config.read_text().replace(str(toy), str(data)))
    with pytest.raises(SystemExit):
        main(["metrics", str(folder), "--parts"])
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert "only built-in scenes can be rendered without their other objects" in said
    assert not (folder / "parts.json").exists()
    with pytest.raises(SystemExit):
        main(["metrics", "--predictions", str(tmp_path), "--scene", "toy", "--parts"])
    assert "give a run folder" in capsys.readouterr().err
