"""What the page does with what people do, without a browser."""

import json
import shutil
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import viser
from PIL import Image

from splat_uff.capture import View
from splat_uff.export.run import export_run
from splat_uff.gaussians.floaters import small_pieces
from splat_uff.geometry.cameras import Camera
from splat_uff.run.open import open_run
from splat_uff.system.errors import InputError
from splat_uff.view.run_page import RunPage, views_of
from splat_uff.view.scene import client_camera, fov_of, wxyz_of
from splat_uff.view.selection import Selection
from splat_uff.view.server import start_server, stop_server
from tests.formats.splats import read_table

EXPORT = sys.modules[export_run.__module__]
"""Where files are written from."""


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
    run = open_run(folder)
    server = start_server("toy", port=18080)
    page = RunPage(server, run, views_of(run))
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
    return np.column_stack([page.splats.colours, page.splats.opacities])


def ray_at(page, pixel):
    camera = page.views[0].camera
    direction = np.linalg.inv(camera.K) @ [pixel[0] + 0.5, pixel[1] + 0.5, 1]
    return camera.centre.tolist(), (camera.world_from_cam[:3, :3] @ direction).tolist()


def a_pixel_on(page, node):
    seen = page.state.label_map(page.views[0].camera)
    rows, columns = np.nonzero(seen == node)
    middle = len(rows) // 2
    return int(columns[middle]), int(rows[middle])


def largest_node(page):
    return int(np.bincount(page.state.nodes).argmax())


def test_what_the_browser_has_follows_the_state(page):
    state = page.state
    changes = (
        lambda: state.cut(3),
        lambda: state.select([state.nodes[0]]),
        lambda: state.set_background((255, 0, 0)),
        lambda: state.keep(share=0.4, least_opacity=0.0),
        lambda: state.step(Selection.hide),
        lambda: state.step(Selection.show_all),
        lambda: state.colour_by("photo"),
    )
    for change in changes:
        before = drawn(page)
        change()
        assert (drawn(page) != before).any()
        np.testing.assert_array_equal(page.splats.colours, state.painted())
        opacities = state.run.gaussians.opacities.numpy() * 255
        expected = np.where(state.visible, opacities, 0)
        np.testing.assert_allclose(page.splats.opacities, expected, atol=0.51)


def test_panels_say_what_the_state_is(page):
    state, count = page.state, len(page.state.run.gaussians)
    assert page.segments.number.value == 20
    state.cut(3)
    assert "**3 segments**" in page.segments.cut_said.content
    assert page.segments.number.value == 3
    state.cut(1)
    assert "**1 segment**" in page.segments.cut_said.content
    assert page.look.count.content == f"{count:,} of {count:,} Gaussians shown"
    state.keep(share=0.25, least_opacity=0.0)
    assert page.look.count.content == f"{round(count / 4):,} of {count:,} Gaussians shown"
    assert page.segments.selection_said.content.startswith("Nothing selected.")
    assert page.export.said.content == "Nothing is selected."
    state.cut(4)
    state.select(np.unique(state.nodes)[:3])
    assert page.segments.selection_said.content.startswith("3 parts, ")
    assert page.export.said.content == "One file for each of 3 selected parts."
    state.select(())
    assert page.export.said.content == "Nothing is selected."


def test_a_click_selects_what_is_under_it(page, browser):
    node = largest_node(page)
    ray = ray_at(page, a_pixel_on(page, node))
    page.pointer.select_at(browser.camera, *ray, "replace")
    assert page.state.selection.marks.selected == (node,)
    size = int((page.state.nodes == node).sum())
    assert f"{size:,} Gaussians" in page.segments.selection_said.content
    centre = page.views[0].camera.centre.tolist()
    page.pointer.select_at(browser.camera, centre, [0.0, 0.0, 1.0], "replace")
    assert page.state.selection.marks.selected == ()


def test_mistakes_are_told_to_who_made_them(page, browser):
    def act(_):
        raise InputError("no such thing.")

    page.callbacks.guarded(act)(event(browser))
    assert browser.said == [("Not done", "no such thing.")]


def test_mistakes_of_who_has_gone_are_told_in_the_terminal(page, browser, monkeypatch, capsys):
    monkeypatch.setattr(page.server, "get_clients", dict)
    page.callbacks.say(browser, "done.")
    assert "done." in capsys.readouterr().err
    assert browser.said == []


def test_names_cannot_be_markup(page):
    page.state.select([page.state.walk.root])
    page.state.step(lambda selection: selection.rename("![x](http://a.b/c) <b>"))
    said = page.segments.selection_said.content
    assert "![x](http" not in said
    assert "<b>" not in said


def test_export_writes_what_is_selected(page, browser, folder):
    node = int(page.state.nodes[0])
    page.state.select([node])
    page.state.step(lambda selection: selection.rename("rim"))
    page.export.folder_name.value = "my parts"
    page.export.export(event(browser))
    assert browser.said[-1][0] == "Done"
    written = folder / "exports" / "my parts"
    part = read_table(written / "parts" / "1.ply")
    assert part.tobytes() == page.state.run.table[page.state.walk.cut(20) == node].tobytes()
    record = json.loads((written / "hierarchy.json").read_text())
    assert record["parts"][0]["name"] == "rim"
    assert next(each["name"] for each in record["nodes"] if each["id"] == node) == "rim"
    with pytest.raises(InputError, match="is there already"):
        page.export.export(event(browser))


def test_export_of_nothing_or_to_elsewhere_is_refused(page, browser, folder):
    with pytest.raises(InputError, match="nothing is selected"):
        page.export.export(event(browser))
    page.export.what.value = "all segments"
    for name in ("../../evil", "/tmp/evil", "..", ""):
        page.export.folder_name.value = name
        with pytest.raises(InputError, match="cannot be a file name"):
            page.export.export(event(browser))
    page.export.format.value = "pickle"
    with pytest.raises(InputError, match="no format pickle"):
        page.export.export(event(browser))
    assert not (folder / "exports").exists()


def test_an_export_that_fails_leaves_nothing_and_lets_the_next_begin(
    page, browser, folder, monkeypatch
):
    page.export.what.value = "all segments"
    with monkeypatch.context() as patch:
        patch.setattr(EXPORT, "write_json", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            page.export.export(event(browser))
    assert list((folder / "exports").iterdir()) == []
    page.export.export(event(browser))
    assert (folder / "exports" / "export" / "hierarchy.json").is_file()


@contextmanager
def exporting(page, browser, monkeypatch, slow):
    """An export that has come to a function of `EXPORT` which then takes for ever."""
    begun, on, real = threading.Event(), threading.Event(), getattr(EXPORT, slow)

    def stand_in(*args, **named):
        begun.set()
        assert on.wait(60)
        return real(*args, **named)

    monkeypatch.setattr(EXPORT, slow, stand_in)
    page.export.what.value, page.export.more.value = "all segments", True
    thread = threading.Thread(target=page.export.export, args=(event(browser),))
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
    node = largest_node(page)
    ray = ray_at(page, a_pixel_on(page, node))
    page.labels.file_name.value = "meanwhile"
    guarded, asked = page.callbacks.guarded, event(browser)
    with exporting(page, browser, monkeypatch, slow):
        clicked = partial(page.pointer.select_at, browser.camera, *ray, "replace")
        assert within_seconds(guarded(lambda _: clicked(), alone=False), asked)
        assert page.state.selection.marks.selected == (node,)
        assert within_seconds(guarded(page.labels.save, alone=False), asked)
        assert (folder / "saved" / "meanwhile.png").is_file()
        assert within_seconds(guarded(lambda _: page.state.cut(7)), asked)
        assert page.state.num_segments == 7
    assert (folder / "exports" / "export" / "hierarchy.json").is_file()


def test_what_waits_for_a_view_to_be_rendered_holds_nothing_else_up(page, browser, monkeypatch):
    node = largest_node(page)
    ray = ray_at(page, a_pixel_on(page, node))
    with exporting(page, browser, monkeypatch, "label_maps"):
        ends = (tuple(each) for each in ray)
        click = viser.SceneClickEvent(browser, browser.client_id, *ends, (0.5, 0.5), None)
        acts = [*callbacks_on_scene(page, "click", None), *page.labels.button._impl.update_cb]
        waiting = [threading.Thread(target=act, args=(click,)) for act in acts]
        assert len(waiting) == 2
        for thread in waiting:
            thread.start()
        assert within_seconds(page.callbacks.guarded(lambda _: page.state.cut(7)), event(browser))
        assert page.state.num_segments == 7
        assert all(thread.is_alive() for thread in waiting)
    for thread in waiting:
        thread.join()
    assert len(page.state.selection.marks.selected) == 1


class CountedLock:
    """A lock that counts how often it was taken."""

    def __init__(self):
        self.lock, self.times = threading.Lock(), 0

    def __enter__(self):
        self.lock.acquire()
        self.times += 1

    def __exit__(self, *_):
        self.lock.release()


def test_an_export_renders_one_view_at_a_time_and_holds_nothing_up_in_between(
    page, browser, monkeypatch
):
    run = page.state.run
    counted = run.__dict__["rendering"] = CountedLock()
    held = []

    def watched(real):
        def write(*args, **named):
            held.append(counted.lock.locked() or not within_seconds(page.state.seen))
            return real(*args, **named)

        return write

    for name in ("write_splats", "write_ply", "write_cloud", "write_label_pngs", "write_json"):
        monkeypatch.setattr(EXPORT, name, watched(getattr(EXPORT, name)))
    page.export.what.value, page.export.more.value = "all segments", True
    page.export.export(event(browser))
    views = run.capture.val or run.capture.train
    assert counted.times == len(views)
    assert len(held) == page.state.num_segments + 1 + 1 + len(views) + 1
    assert not any(held)


def test_an_export_tells_how_far_it_is_and_a_second_one_has_to_wait(
    page, browser, folder, monkeypatch
):
    panel = page.export
    assert not panel.busy
    assert not panel.progress.visible
    with exporting(page, browser, monkeypatch, "write_json"):
        assert panel.busy
        assert panel.progress.visible
        assert panel.progress.value == 100
        assert panel.progress_said.content.startswith("labels: ")
        panel.folder_name.value = "second"
        with pytest.raises(InputError, match=r"an export is under way \(labels: \d+ of \d+\)"):
            panel.export(event(browser))
    assert not panel.busy
    assert not panel.progress.visible
    assert [path.name for path in (folder / "exports").iterdir()] == ["export"]
    panel.export(event(browser))
    assert (folder / "exports" / "second").is_dir()


def test_an_export_begins_with_no_part_done(page, browser, monkeypatch):
    with exporting(page, browser, monkeypatch, "write_splats"):
        assert page.export.progress_said.content == f"parts: 0 of {page.state.num_segments}"
        assert page.export.progress.value == 0


def test_the_saved_label_map_has_the_labels_of_the_cut(page, browser, folder):
    page.state.cut(5)
    page.labels.save(event(browser))
    labels = np.asarray(Image.open(folder / "saved" / "labels.png"))
    assert labels.shape == (480, 640)
    expected = page.state.run.label_map(client_camera(browser.camera), 5)
    np.testing.assert_array_equal(labels, expected)
    preview = np.asarray(Image.open(folder / "saved" / "labels_preview.png"))
    assert (preview[labels == 0] == 255).all()
    with pytest.raises(InputError, match="is there already"):
        page.labels.save(event(browser))


@pytest.mark.parametrize("names", [("scan", "scan_preview"), ("scan_preview", "scan")])
def test_a_saved_label_map_is_no_preview_of_another(page, browser, folder, names):
    saved = folder / "saved"
    taken = []
    for name in names:
        page.labels.file_name.value = name
        if (saved / f"{name}.png").exists():
            with pytest.raises(InputError, match="is there already"):
                page.labels.save(event(browser))
            name = page.labels.file_name.value = "SCAN_2"
        page.labels.save(event(browser))
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


def test_a_run_without_its_photos_has_a_page(folder, capsys):
    config = (folder / "config.toml").read_text()
    lines = ['data = "/nowhere"' if line.startswith("data =") else line
             for line in config.splitlines()]  # fmt: skip
    (folder / "config.toml").write_text("\n".join(lines))
    (folder / "features.npz").unlink()
    run = open_run(folder)
    server = start_server("toy", port=18080)
    page = RunPage(server, run, views_of(run))
    assert page.views == ()
    assert page.state.colours.modes == ("segments", "photo")
    page.state.cut(4)
    page.close()
    stop_server(server)
    said = capsys.readouterr().err
    assert "no photos" in said
    assert "no colours of features" in said


@pytest.mark.parametrize("direction", [[0.0] * 3, [float("nan")] * 3, [float("inf"), 0.0, 0.0]])
def test_rays_that_lead_nowhere_select_nothing(page, browser, direction):
    page.state.select([page.state.walk.root])
    page.pointer.select_at(browser.camera, [0.0] * 3, direction, "replace")
    assert page.state.selection.marks.selected == (page.state.walk.root,)


@pytest.mark.parametrize("support", [None, 0.8125])
def test_support_of_what_is_selected_is_told_where_it_is_known(folder, support):
    run = open_run(folder)
    known = None if support is None else np.full(len(run.hierarchy.tree.parents), support)
    server = start_server("toy", port=18080)
    page = RunPage(server, replace(run, hierarchy=replace(run.hierarchy, support=known)), ())
    page.state.select([page.state.walk.root])
    said = page.segments.selection_said.content
    page.close()
    stop_server(server)
    assert ("in 81% of resampled trees" if known is not None else "0 above") in said
    assert ("resampled trees" in said) == (known is not None)


@pytest.fixture
def floaters(page):
    """Every third Gaussian, as what the run's page finds to be floaters."""
    found = np.arange(len(page.state.run.gaussians)) % 3 == 0
    page.state.run.__dict__["floaters"] = found
    return found


def test_floaters_are_hidden_and_not_exported_as_long_as_that_is_ticked(
    page, browser, folder, floaters
):
    look = page.look
    look.floaters.value = True
    look._hide_floaters(event(browser))
    np.testing.assert_array_equal(page.state.visible, ~floaters)
    np.testing.assert_array_equal(page.splats.opacities[floaters], 0)
    assert look.floaters_said.content == f"{floaters.sum():,} floaters hidden"
    assert look.count.content.startswith(f"{(~floaters).sum():,} of ")
    page.export.what.value = "all segments"
    page.export.export(event(browser))
    record = json.loads((folder / "exports" / "export" / "hierarchy.json").read_text())
    assert sum(part["size"] for part in record["parts"]) == (~floaters).sum()
    look.floaters.value = False
    look._hide_floaters(event(browser))
    assert page.state.visible.all()
    assert not look.floaters_said.visible
    page.export.folder_name.value = "again"
    page.export.export(event(browser))
    record = json.loads((folder / "exports" / "again" / "hierarchy.json").read_text())
    assert record["num_gaussians"] == len(floaters)


def test_floaters_are_looked_for_when_first_asked_for(page, browser, monkeypatch):
    look, said = page.look, []
    assert "floaters" not in page.state.run.__dict__
    real = look._follow
    monkeypatch.setattr(look, "_follow", lambda *told: (said.append(told), real(*told)))
    look.floaters.value = True
    look._hide_floaters(event(browser))
    found = page.state.run.floaters
    if (small_pieces(page.state.run.gaussians) >= 0).any():
        assert said[-1] == ("floaters", len(page.views), len(page.views))
    assert look.floaters_said.content == f"{found.sum():,} floaters hidden"


def test_without_photos_floaters_cannot_be_told_and_the_box_is_unticked(page, browser):
    run = page.state.run
    run.__dict__.pop("capture", None)
    object.__setattr__(run, "provenance", replace(run.provenance, data="nowhere"))
    page.look.floaters.value = True
    with pytest.raises(InputError, match="nowhere"):
        page.look._hide_floaters(event(browser))
    assert not page.look.floaters.value
    assert page.state.visible.all()
