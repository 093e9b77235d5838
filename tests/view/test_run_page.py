"""What the page does with what people do, without a browser."""

import json
import shutil
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import viser
from PIL import Image

import splat_uff.opened
from splat_uff.cameras import Camera
from splat_uff.capture import View
from splat_uff.errors import InputError
from splat_uff.gaussians.table import read_table
from splat_uff.names import read_names
from splat_uff.opened import open_run
from splat_uff.view.run_page import RunPage, views_of
from splat_uff.view.scene import Splats, client_camera, covariances, fov_of, wxyz_of
from splat_uff.view.server import start_server, stop_server


class Eye(viser.CameraHandle):
    """A camera that nobody moves."""

    position = wxyz = fov = image_width = image_height = None

    def __init__(self, camera: Camera, width: int, height: int) -> None:
        self.position, self.wxyz, self.fov = camera.centre, wxyz_of(camera), fov_of(camera)
        self.image_width, self.image_height = width, height


class Browser(viser.ClientHandle):
    """As much of a client as the page asks for."""

    def __init__(self, view: View, width: int = 640, height: int = 480) -> None:
        self.client_id = 1
        self.said: list[tuple[str, str]] = []
        self.camera = Eye(view.camera, width, height)

    def add_notification(self, title, body, **_):
        self.said.append((title, body))
        return SimpleNamespace(remove=lambda: None)


@pytest.fixture
def folder(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "toy")


@pytest.fixture
def page(folder):
    opened = open_run(folder)
    server = start_server("toy", port=18080)
    page = RunPage(server, opened, views_of(opened))
    yield page
    page.close()
    stop_server(server)


@pytest.fixture
def browser(page, monkeypatch):
    browser = Browser(page.views[0])
    monkeypatch.setattr(page.server, "get_clients", lambda: {1: browser})
    return browser


def event(browser, **more):
    return SimpleNamespace(client=browser, **more)


def drawn(page):
    """Colours and opacities as they are with the browser, [N, 4]."""
    return page._splats._handle.buffer[:, 7:].copy().view(np.uint8)


def ray_at(page, pixel):
    camera = page.views[0].camera
    direction = np.linalg.inv(camera.K) @ [pixel[0] + 0.5, pixel[1] + 0.5, 1]
    return camera.centre.tolist(), (camera.world_from_cam[:3, :3] @ direction).tolist()


def a_pixel_on(page, node):
    seen = page.label_panel.label(page.views[0].camera)
    rows, columns = np.nonzero(seen == node)
    middle = len(rows) // 2
    return int(columns[middle]), int(rows[middle])


def test_changing_the_granularity_changes_colours_and_says_so(page):
    before = drawn(page)
    page.cut(3)
    assert len(np.unique(page.nodes)) == 3
    assert (drawn(page)[:, :3] == page.colours.of_nodes[page.nodes]).all()
    assert (drawn(page) != before).any()
    assert "3 segments" in page.tree_panel._cut.content
    assert page.tree_panel._number.value == 3
    page.cut(10**9)
    assert page.num_segments == page.most_segments
    page.cut(-5)
    assert page.num_segments == 1
    assert "1 segment*" in page.tree_panel._cut.content


def test_a_click_selects_what_is_under_it_and_lights_it_up(page, browser):
    node = int(np.bincount(page.nodes).argmax())
    before = drawn(page)
    page.select_at(browser.camera, *ray_at(page, a_pixel_on(page, node)), "replace")
    assert page.selection.marks.selected == (node,)
    inside = page.nodes == node
    assert (drawn(page)[:, 3] == before[:, 3]).all()
    assert drawn(page)[inside, :2].mean() > drawn(page)[~inside, :2].mean() + 40
    said = page.tree_panel._said.content
    assert f"{int(inside.sum()):,} Gaussians" in said
    assert "Export" not in said
    assert "One file for each of 1" in page.export_panel._said.content
    page.select_at(browser.camera, page.views[0].camera.centre.tolist(), [0.0, 0.0, 1.0], "replace")
    assert page.selection.marks.selected == ()


def test_hidden_gaussians_are_not_drawn_and_not_clicked(page, browser):
    node = int(np.bincount(page.nodes).argmax())
    pixel = a_pixel_on(page, node)
    page.selection.select([node])
    page.tree_panel._hide()
    assert (drawn(page)[page.nodes == node, 3] == 0).all()
    assert (drawn(page)[page.nodes != node, 3] > 0).any()
    page.select_at(browser.camera, *ray_at(page, pixel), "replace")
    assert node not in page.selection.marks.selected
    page.tree_panel._show_all()
    assert (drawn(page)[page.nodes == node, 3] > 0).any()


def test_mistakes_are_told_to_who_made_them(page, browser):
    def act(_):
        raise InputError("no such thing.")

    page.guarded(act)(event(browser))
    assert browser.said == [("Not done", "no such thing.")]


def test_mistakes_of_who_has_gone_are_told_in_the_terminal(page, browser, monkeypatch, capsys):
    monkeypatch.setattr(page.server, "get_clients", dict)
    page.say(browser, "done.")
    assert "done." in capsys.readouterr().err
    assert browser.said == []


def test_names_are_kept_in_the_run_and_undone_there(page, folder):
    page.selection.select([page.walk.root])
    page.rename("everything")
    assert read_names(open_run(folder).run) == {page.walk.root: "everything"}
    page.travel(True)
    assert read_names(open_run(folder).run) == {}
    page.travel(False)
    assert read_names(open_run(folder).run) == {page.walk.root: "everything"}


def test_names_cannot_be_markup(page):
    page.selection.select([page.walk.root])
    page.rename("![x](http://a.b/c) <b>")
    page.changed()
    said = page.tree_panel._said.content
    assert "![x](http" not in said
    assert "<b>" not in said


def test_export_writes_what_is_selected(page, browser, folder):
    node = int(page.nodes[0])
    page.selection.select([node])
    page.rename("rim")
    page.export_panel._name.value = "my parts"
    page.export_panel._export(event(browser))
    assert browser.said[-1][0] == "Done"
    written = folder / "exports" / "my parts"
    part = read_table(written / "parts" / "1.ply")
    assert part.tobytes() == page.opened.table[page.walk.cut(20) == node].tobytes()
    record = json.loads((written / "hierarchy.json").read_text())
    assert record["parts"][0]["name"] == "rim"
    assert next(each["name"] for each in record["nodes"] if each["id"] == node) == "rim"
    with pytest.raises(InputError, match="is there already"):
        page.export_panel._export(event(browser))


def test_export_of_nothing_or_to_elsewhere_is_refused(page, browser, folder):
    with pytest.raises(InputError, match="nothing is selected"):
        page.export_panel._export(event(browser))
    page.export_panel._what.value = "all segments"
    for name in ("../../evil", "/tmp/evil", "..", ""):
        page.export_panel._name.value = name
        with pytest.raises(InputError, match="cannot be a file name"):
            page.export_panel._export(event(browser))
    page.export_panel._format.value = "pickle"
    with pytest.raises(InputError, match="no format pickle"):
        page.export_panel._export(event(browser))
    assert not (folder / "exports").exists()


def test_an_export_that_fails_leaves_nothing_and_lets_the_next_begin(
    page, browser, folder, monkeypatch
):
    page.export_panel._what.value = "all segments"
    with monkeypatch.context() as patch:
        patch.setattr("splat_uff.opened.write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            page.export_panel._export(event(browser))
    assert list((folder / "exports").iterdir()) == []
    page.export_panel._export(event(browser))
    assert (folder / "exports" / "export" / "hierarchy.json").is_file()


@contextmanager
def exporting(page, browser, monkeypatch, slow):
    """An export that has come to a function of `splat_uff.opened` which then takes for ever."""
    begun, on, real = threading.Event(), threading.Event(), getattr(splat_uff.opened, slow)

    def stand_in(*args, **named):
        begun.set()
        assert on.wait(60)
        return real(*args, **named)

    monkeypatch.setattr(splat_uff.opened, slow, stand_in)
    page.export_panel._what.value, page.export_panel._more.value = "all segments", True
    thread = threading.Thread(target=page.export_panel._export, args=(event(browser),))
    thread.start()
    try:
        assert begun.wait(60)
        yield
        assert thread.is_alive()
    finally:
        on.set()
        thread.join()


def within_seconds(act, *args):
    """Whether an action comes to its end soon; it has a thread of its own, as on the server."""
    thread = threading.Thread(target=act, args=args, daemon=True)
    thread.start()
    thread.join(5)
    return not thread.is_alive()


def callbacks_on_scene(page, kind, modifier):
    """What is called on a click or a box, as the server has it."""
    return [
        entry.callback
        for entry in page.server.scene._scene_pointer_cb
        if (entry.event_type, entry.modifier) == (kind, modifier)
    ]


@pytest.mark.parametrize("slow", ["write_splats", "write_json", "write_label_pngs"])
def test_the_page_goes_on_while_it_exports(page, browser, folder, monkeypatch, slow):
    node = int(np.bincount(page.nodes).argmax())
    ray = ray_at(page, a_pixel_on(page, node))
    page.label_panel._name.value = "meanwhile"
    with exporting(page, browser, monkeypatch, slow):
        clicked = partial(page.select_at, browser.camera, *ray, "replace")
        assert within_seconds(page.guarded(lambda _: clicked(), alone=False), event(browser))
        assert page.selection.marks.selected == (node,)
        assert within_seconds(page.guarded(page.label_panel._save, alone=False), event(browser))
        assert (folder / "saved" / "meanwhile.png").is_file()
        assert within_seconds(page.guarded(lambda _: page.cut(7)), event(browser))
        assert page.num_segments == 7
    assert (folder / "exports" / "export" / "hierarchy.json").is_file()


def test_what_waits_for_a_view_to_be_rendered_holds_nothing_else_up(page, browser, monkeypatch):
    node = int(np.bincount(page.nodes).argmax())
    ray = ray_at(page, a_pixel_on(page, node))
    with exporting(page, browser, monkeypatch, "label_maps"):
        ends = (tuple(each) for each in ray)
        click = viser.SceneClickEvent(browser, browser.client_id, *ends, (0.5, 0.5), None)
        acts = [*callbacks_on_scene(page, "click", None), *page.label_panel._button._impl.update_cb]
        waiting = [threading.Thread(target=act, args=(click,)) for act in acts]
        assert len(waiting) == 2
        for thread in waiting:
            thread.start()
        assert within_seconds(page.guarded(lambda _: page.cut(7)), event(browser))
        assert page.num_segments == 7
        assert all(thread.is_alive() for thread in waiting)
    for thread in waiting:
        thread.join()
    assert len(page.selection.marks.selected) == 1


def test_one_export_at_a_time(page, browser):
    page.export_panel._busy.acquire()
    with pytest.raises(InputError, match="under way"):
        page.export_panel._export(event(browser))


def test_the_saved_label_map_has_the_labels_of_the_cut(page, browser, folder):
    page.cut(5)
    page.label_panel._save(event(browser))
    labels = np.asarray(Image.open(folder / "saved" / "labels.png"))
    assert labels.shape == (480, 640)
    expected = page.opened.label_map(client_camera(browser.camera), 5)
    np.testing.assert_array_equal(labels, expected)
    preview = np.asarray(Image.open(folder / "saved" / "labels_preview.png"))
    assert (preview[labels == 0] == 255).all()
    with pytest.raises(InputError, match="is there already"):
        page.label_panel._save(event(browser))


@pytest.mark.parametrize("names", [("scan", "scan_preview"), ("scan_preview", "scan")])
def test_a_saved_label_map_is_no_preview_of_another(page, browser, folder, names):
    saved = folder / "saved"
    taken = []
    for name in names:
        page.label_panel._name.value = name
        if (saved / f"{name}.png").exists():
            with pytest.raises(InputError, match="is there already"):
                page.label_panel._save(event(browser))
            name = page.label_panel._name.value = "SCAN_2"
        page.label_panel._save(event(browser))
        taken.append(f"{name}.png")
    assert len(list(saved.glob("*.png"))) == 4
    for name in taken:
        with Image.open(saved / name) as picture:
            assert picture.mode.startswith("I;16")


def test_the_camera_of_a_browser_is_that_of_the_photo(page):
    camera = page.views[0].camera
    found = client_camera(Browser(page.views[0], camera.width, camera.height).camera)
    np.testing.assert_allclose(found.world_from_cam, camera.world_from_cam, atol=1e-12)
    np.testing.assert_allclose(found.K, camera.K, rtol=1e-9)
    small = client_camera(Browser(page.views[0], 640, 480).camera, longest=64)
    assert (small.width, small.height) == (64, 48)


def test_fewer_gaussians_are_those_of_least_opacity_or_size_left_out(page):
    panel = page.look_panel
    panel.kept[:] = False
    panel.kept[panel._order[:50]] = True
    page.recolour()
    assert (drawn(page)[:, 3] > 0).sum() <= 50
    assert "50 of" in panel._count.content


def test_many_threads_leave_the_page_whole(page):
    def fiddle(seed):
        rng = np.random.default_rng(seed)
        for _ in range(12):
            number = int(rng.integers(1, 40))
            page.guarded(lambda _, number=number: page.cut(number))(event(None))
            page.guarded(lambda _: page.selection.select([page.nodes[0]], "add"))(event(None))
            page.guarded(lambda _: page.changed())(event(None))

    threads = [threading.Thread(target=fiddle, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    page.selection.select(())
    page.changed()
    assert (page.nodes == page.walk.cut(page.num_segments)).all()
    assert (drawn(page)[:, :3] == page.colours.of_nodes[page.nodes]).all()


def test_a_run_without_its_photos_has_a_page(folder, capsys):
    config = (folder / "config.toml").read_text()
    lines = ['data = "/nowhere"' if line.startswith("data =") else line
             for line in config.splitlines()]  # fmt: skip
    (folder / "config.toml").write_text("\n".join(lines))
    (folder / "features.npz").unlink()
    opened = open_run(folder)
    server = start_server("toy", port=18080)
    page = RunPage(server, opened, views_of(opened))
    assert page.views == ()
    assert page.colours.modes == ("segments", "photo")
    page.cut(4)
    page.close()
    stop_server(server)
    said = capsys.readouterr().err
    assert "no photos" in said
    assert "no colours of features" in said


def test_features_that_are_not_finite_give_no_colours(folder, capsys):
    arrays = dict(np.load(folder / "features.npz"))
    arrays["features"][3, 1] = np.nan
    np.savez(folder / "features.npz", **arrays)
    opened = open_run(folder)
    server = start_server("toy", port=18080)
    page = RunPage(server, opened, ())
    assert page.colours.modes == ("segments", "photo")
    page.close()
    stop_server(server)
    assert "features.npz is damaged or of another run" in capsys.readouterr().err


def test_the_server_listens_on_this_machine_only_and_says_so(capsys):
    server = start_server("toy", port=18080)
    other = start_server("toy", port=server.get_port())
    try:
        assert server.get_host() == "127.0.0.1"
        assert other.get_port() != server.get_port()
    finally:
        stop_server(server)
        stop_server(other)
    captured = capsys.readouterr()
    assert f"http://127.0.0.1:{server.get_port()}" in captured.err
    assert "this machine only" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        ("127.0.0.1", 0, "--port is 0"),
        ("127.0.0.1", 70000, "--port is 70000"),
        ("no such host", 8080, "--host no such host is no address"),
        ("203.0.113.7", 8080, "is not an address of this machine"),
    ],
)
def test_addresses_that_cannot_be_listened_on(host, port, message):
    with pytest.raises(InputError, match=message):
        start_server("toy", host=host, port=port)


def test_covariances_are_those_of_the_gaussians(page):
    gaussians = page.opened.gaussians.subset(torch.arange(40))
    found = covariances(gaussians)
    variances = np.sort(np.linalg.eigvalsh(found.astype(np.float64)), axis=1)
    expected = np.sort(gaussians.scales.numpy().astype(np.float64) ** 2, axis=1)
    np.testing.assert_allclose(variances, expected, rtol=1e-3, atol=1e-9)
    assert isinstance(page._splats, Splats)


@pytest.mark.parametrize("direction", [[0.0] * 3, [float("nan")] * 3, [float("inf"), 0.0, 0.0]])
def test_rays_that_lead_nowhere_select_nothing(page, browser, direction):
    page.selection.select([page.walk.root])
    page.select_at(browser.camera, [0.0] * 3, direction, "replace")
    assert page.selection.marks.selected == (page.walk.root,)


def test_support_of_what_is_selected_is_told_where_it_is_known(page):
    page.selection.select([page.walk.root])
    page.opened = replace(page.opened, hierarchy=replace(page.opened.hierarchy, support=None))
    page.changed()
    assert "resampled trees" not in page.tree_panel._said.content
    support = np.full(len(page.walk.tree.parents), 0.8125)
    page.opened = replace(page.opened, hierarchy=replace(page.opened.hierarchy, support=support))
    page.changed()
    assert "in 81% of resampled trees" in page.tree_panel._said.content
