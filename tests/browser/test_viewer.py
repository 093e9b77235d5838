"""The page in a real browser: what is drawn, and what clicks and drags do."""

import io
import json
import math
import re
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest
import viser
from PIL import Image

from splat_uff.geometry.cameras import project
from splat_uff.hierarchy.segments import largest_first
from splat_uff.run.open import open_run
from splat_uff.view.run_page import RunPage, views_of
from splat_uff.view.scene import FRUSTUM, client_camera
from splat_uff.view.selection import Selection
from splat_uff.view.server import start_server, stop_server
from tests.formats.splats import read_table

pytestmark = pytest.mark.slow
CLOSE = ".mantine-Notification-closeButton"
SIZE = {"width": 1200, "height": 720}


@pytest.fixture(scope="module")
def world(trained, tmp_path_factory, chromium):
    """A page, and a tab that shows it."""
    run = open_run(shutil.copytree(trained, tmp_path_factory.mktemp("world") / "toy"))
    server = start_server("toy", port=18200)
    page = RunPage(server, run, views_of(run))
    context = chromium.new_context(viewport=SIZE)
    tab = context.new_page()
    enter(tab, server.get_port())
    close_notice(tab)
    yield page, tab
    context.close()
    page.close()
    stop_server(server)


@pytest.fixture
def page(world):
    """The page as it is at first."""
    page = world[0]
    for folder in ("exports", "saved"):
        shutil.rmtree(page.state.run.folder.path / folder, ignore_errors=True)
    page.state.select(())
    page.state.step(Selection.show_all)
    page.state.cut(20)
    return page


@pytest.fixture
def shown(world, page):
    """The tab with the page in it, with its splats drawn and no notices in the way."""
    tab = world[1]
    tab.get_by_role("tab", name="Segments").click()
    dismiss(tab)
    until(tab, lambda: not_background(picture(tab), page).sum() > 2000)
    return tab


def enter(tab, port):
    tab.goto(f"http://127.0.0.1:{port}")
    tab.get_by_text("granularity").wait_for(timeout=60_000)


def dismiss(tab):
    """Close all notices; by script, since they move and some go by themselves."""
    close = f"document.querySelectorAll('{CLOSE}').forEach((button) => button.click())"
    for _ in range(40):
        if tab.locator(CLOSE).count() == 0:
            return
        tab.evaluate(close)
        tab.wait_for_timeout(250)
    raise AssertionError("notices stay")


def close_notice(tab):
    """Chromium without a GPU is warned about by a notice in the way."""
    notice = tab.get_by_text("Software WebGL rendering detected")
    notice.wait_for(timeout=30_000)
    dismiss(tab)


def until(tab, condition, seconds=30):
    """Wait for something, while the tab goes on."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        tab.wait_for_timeout(150)


def click_on(tab, page, node):
    """Click on a segment; again, some seconds later, where a late notice was in the way."""
    place, clicked = place_of(page, node), -math.inf

    def chosen():
        nonlocal clicked
        if page.state.selection.current != node and time.monotonic() > clicked + 10:
            dismiss(tab)
            tab.mouse.click(*place)
            clicked = time.monotonic()
        return page.state.selection.current == node

    until(tab, chosen, 60)


def shows_its_cut(tab, page):
    """Whether the number of segments is on the panel, of the cut as it is now: keys may follow."""
    shown = tab.get_by_text(re.compile(rf"(?<!\d){page.state.num_segments} segments"))
    return shown.first.is_visible()


def picture(tab):
    """The left part of the tab, which no panel covers."""
    image = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    return np.asarray(image)[:, :760].astype(int)


def not_background(pixels, page):
    return np.abs(pixels - np.array(page.state.background)).max(axis=2) > 30


def field(tab, label):
    """The input beside a label."""
    beside = f"xpath=//*[text()='{label}']/ancestor::*[.//input][1]//input"
    return tab.locator(beside).locator("visible=true").first


def client_of(page):
    (client,) = page.server.get_clients().values()
    return client


def place_of(page, node):
    """A point of the tab at which a node is seen, well inside of it."""
    camera = client_camera(client_of(page).camera)
    seen = page.state.label_map(camera) == node
    seen[:, 760:] = False
    inside = seen.copy()
    for axis in (0, 1):
        for step in (-4, 4):
            inside &= np.roll(seen, step, axis=axis)
    rows, columns = np.nonzero(inside)
    middle = len(rows) // 2
    return int(columns[middle]), int(rows[middle])


def largest_node(page):
    return largest_first(page.state.nodes)[0]


def test_splats_are_drawn_in_the_colours_of_their_segments(shown, page):
    node = largest_node(page)
    x, y = place_of(page, node)
    drawn = picture(shown)[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).mean(axis=0)
    assert np.abs(drawn - page.state.colours.of_nodes[node]).max() < 60


def test_the_slider_changes_the_cut_and_the_colours(shown, page):
    before, number = picture(shown), page.state.num_segments
    slider = shown.get_by_role("slider").first
    slider.focus()
    for _ in range(12):
        slider.press("ArrowLeft")
    until(shown, lambda: page.state.num_segments < number / 2)
    until(shown, lambda: shows_its_cut(shown, page))
    until(shown, lambda: (np.abs(picture(shown) - before).max(axis=2) > 30).sum() > 1000)


def test_a_click_selects_what_is_under_the_cursor(shown, page):
    node = largest_node(page)
    shown.mouse.click(*place_of(page, node))
    until(shown, lambda: page.state.selection.marks.selected == (node,))
    shown.get_by_text(f"#{node}", exact=True).first.wait_for()
    shown.get_by_text("wider", exact=True).click()
    until(shown, lambda: page.state.selection.current == page.state.walk.parent(node))
    shown.get_by_text("narrower", exact=True).click()
    until(shown, lambda: page.state.selection.current == node)


def test_shift_adds_and_ctrl_removes(shown, page):
    page.state.cut(4)
    seen = page.state.label_map(client_camera(client_of(page).camera))[:, :760]
    first, second = largest_first(seen[seen > 0])[:2]
    shown.mouse.click(*place_of(page, first))
    until(shown, lambda: page.state.selection.marks.selected == (first,))
    shown.keyboard.down("Shift")
    shown.mouse.click(*place_of(page, second))
    shown.keyboard.up("Shift")
    until(shown, lambda: page.state.selection.marks.selected == (first, second))
    shown.keyboard.down("Control")
    shown.mouse.click(*place_of(page, first))
    shown.keyboard.up("Control")
    until(shown, lambda: page.state.selection.marks.selected == (second,))


def drag(tab, start, end):
    tab.mouse.move(*start)
    tab.mouse.down()
    tab.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=4)
    tab.mouse.move(*end, steps=4)
    tab.mouse.up()


def test_a_box_selects_what_it_holds(shown, page):
    shown.keyboard.down("Shift")
    drag(shown, (5, 5), (790, 710))
    shown.keyboard.up("Shift")
    until(shown, lambda: page.state.selection.selected.mean() > 0.5)
    shown.get_by_text("draw a box to select").wait_for()
    shown.get_by_role("checkbox").first.check()
    until(shown, lambda: page.segments.box.value)

    def is_refused():  # Again, where the browser does not know yet that a box is to be drawn.
        drag(shown, (5, 5), (20, 20))
        return shown.get_by_text("holds no segment for the most part").count() > 0

    until(shown, is_refused)
    shown.get_by_role("checkbox").first.uncheck()
    until(shown, lambda: not page.segments.box.value)


def test_hidden_parts_are_not_drawn_and_undo_brings_them_back(shown, page):
    before = picture(shown)

    def changed():
        return (np.abs(picture(shown) - before).max(axis=2) > 30).sum()

    node = largest_node(page)
    click_on(shown, page, node)
    shown.get_by_text("hide", exact=True).click()
    until(shown, lambda: page.state.selection.marks.hidden == (node,))
    until(shown, lambda: changed() > 500)
    shown.keyboard.press("Control+z")
    until(shown, lambda: not page.state.selection.marks.hidden)
    shown.get_by_text("undo", exact=True).click()
    until(shown, lambda: not page.state.selection.marks.selected)
    until(shown, lambda: changed() < 100)


def test_a_part_is_named_and_exported(shown, page):
    node = largest_node(page)
    click_on(shown, page, node)
    name = field(shown, "name")
    name.fill("table")
    name.press("Enter")
    until(shown, lambda: page.state.selection.called(node) == "table")
    shown.get_by_role("tab", name="Export").click()
    shown.get_by_text("One file for each of 1 selected").wait_for()
    shown.get_by_role("button", name="Export").click()
    shown.get_by_text("2 files in").wait_for()
    folder = page.state.run.folder.path / "exports" / "export"
    assert read_table(folder / "parts" / "1.ply").tobytes() == (
        page.state.run.table[page.state.run.members(node)].tobytes()
    )
    assert json.loads((folder / "hierarchy.json").read_text())["parts"][0]["name"] == "table"
    typed = field(shown, "folder name")
    typed.fill("../../outside")
    until(shown, lambda: page.export.folder_name.value == "../../outside")
    shown.get_by_role("button", name="Export").click()
    shown.get_by_text("cannot be a file name").wait_for()
    assert not list(page.state.run.folder.path.parent.glob("outside*"))
    typed.fill("export")


def test_a_tab_that_is_closed_while_it_exports_leaves_a_whole_folder(page, tab):
    enter(tab, page.server.get_port())
    tab.get_by_role("tab", name="Export").click()
    page.export.what.value = "all segments"
    page.export.folder_name.value = "export"
    tab.get_by_role("button", name="Export").click()
    until(tab, lambda: page.export.busy or exported(page))
    tab.context.close()
    end = time.monotonic() + 30
    while not exported(page) or len(page.server.get_clients()) > 1:
        assert time.monotonic() < end
        time.sleep(0.1)
    page.export.what.value = "what is selected"
    (folder,) = (page.state.run.folder.path / "exports").iterdir()
    assert (folder / "hierarchy.json").is_file()
    assert len(list((folder / "parts").iterdir())) == page.state.num_segments


def exported(page):
    return (page.state.run.folder.path / "exports" / "export").is_dir()


def test_looking_through_a_photo_and_laying_its_labels_over(shown, page):
    shown.get_by_role("tab", name="Photos").click()
    choose(shown, "look through", page.views[2].name)
    until(
        shown,
        lambda: np.allclose(
            client_of(page).camera.position, page.views[2].camera.centre, atol=1e-3
        ),
    )
    camera = client_camera(client_of(page).camera)
    np.testing.assert_allclose(
        camera.world_from_cam, page.views[2].camera.world_from_cam, atol=2e-3
    )
    before = picture(shown)
    choose(shown, "lay over it", "labels")
    until(shown, lambda: (np.abs(picture(shown) - before).max(axis=2) > 20).sum() > 500)
    choose(shown, "lay over it", "nothing")
    choose(shown, "look through", "none")


def test_a_click_on_a_camera_looks_through_it_and_selects_nothing(shown, page):
    page.state.select([largest_node(page)])
    selected = page.state.selection.marks.selected
    shown.get_by_role("tab", name="Photos").click()
    field(shown, "cameras").check()
    step_back(shown, page)
    index, place = a_camera_in_sight(page)
    shown.mouse.click(*place)
    until(
        shown,
        lambda: np.allclose(
            client_of(page).camera.position, page.views[index].camera.centre, atol=1e-3
        ),
    )
    assert page.state.selection.marks.selected == selected
    assert page.photos.choice.value == page.views[index].name
    field(shown, "cameras").uncheck()
    choose(shown, "look through", "none")


def step_back(tab, page):
    """Look from so far away that the cameras are in sight."""
    camera = client_of(page).camera
    camera.position = tuple(page.focus + 2.2 * (camera.position - page.focus))
    tab.wait_for_timeout(2500)


def a_camera_in_sight(page):
    """A photo whose frustum is seen beside the splats, and where."""
    camera = client_camera(client_of(page).camera)
    empty = page.state.label_map(camera) == 0
    poses = np.stack([view.camera.world_from_cam for view in page.views])
    pictures = poses[:, :3, 3] + 0.9 * FRUSTUM * poses[:, :3, 2]
    pixels, depths = project(camera, pictures)
    for index in np.argsort(depths):
        column, row = (round(each) for each in pixels[index])
        if depths[index] > 0.3 and 330 < column < 740 and 20 < row < 700 and empty[row, column]:
            return int(index), (column, row)
    raise AssertionError("no camera in sight")


def choose(tab, label, option):
    field(tab, label).click()
    tab.get_by_role("option", name=option, exact=True).click()


def test_the_label_map_of_the_screen_is_saved(shown, page):
    shown.get_by_role("tab", name="Labels").click()
    drawn = not_background(picture(shown), page)
    shown.get_by_role("button", name="Save label map").click()
    shown.get_by_text("with a preview beside it").wait_for()
    labels = np.asarray(Image.open(page.state.run.folder.path / "saved" / "labels.png"))
    rows = np.arange(drawn.shape[0]) * labels.shape[0] // drawn.shape[0]
    columns = np.arange(drawn.shape[1]) * labels.shape[1] // 1200
    assert ((labels > 0)[rows][:, columns] == drawn).mean() > 0.97


def test_two_browsers_see_the_same(shown, page, chromium):
    context = chromium.new_context(viewport={"width": 800, "height": 600})
    other = context.new_page()
    enter(other, page.server.get_port())
    slider = other.get_by_role("slider").first
    slider.focus()
    slider.press("ArrowLeft")
    until(other, lambda: page.state.num_segments < 20)
    until(shown, lambda: shows_its_cut(shown, page))
    context.close()
    until(shown, lambda: len(page.server.get_clients()) == 1)
    number = page.state.num_segments
    shown.get_by_role("slider").first.press("ArrowLeft")
    until(shown, lambda: page.state.num_segments < number and shows_its_cut(shown, page))


CONNECT = """address => new Promise(say => {
    const socket = new WebSocket(address, "viser-v" + version);
    socket.onopen = () => { socket.close(); say("open"); };
    socket.onerror = () => say("refused");
})""".replace("version", f'"{viser.__version__}"')


def test_another_page_in_the_browser_cannot_connect(page, tab):
    port = page.server.get_port()
    enter(tab, port)
    assert tab.evaluate(CONNECT, f"ws://127.0.0.1:{port}") == "open"
    assert tab.evaluate(CONNECT, f"ws://localhost:{port}") == "refused"
    tab.goto("about:blank")
    assert tab.evaluate(CONNECT, f"ws://127.0.0.1:{port}") == "refused"


def test_a_page_for_everyone_opens_by_its_whole_address(tab, capsys):
    server = start_server("toy", host="0.0.0.0", port=18250)
    server.gui.add_markdown("let in")
    (address,) = re.findall(r"page: (\S+)", capsys.readouterr().err)
    bare = address.partition("?")[0]
    tab.goto(bare)
    tab.get_by_text("with its token").wait_for()
    for each in (address, bare):  # At the second visit the browser has the cookie.
        tab.goto(each)
        tab.get_by_text("let in").wait_for(timeout=60_000)
    stop_server(server)


def test_a_training_is_watched_paused_and_turns_into_its_run(tab, toy, tmp_path):
    output = tmp_path / "watched"
    few = ("--gaussians.steps", "1500", "--features.steps", "60")
    with training_on_a_page(toy, output, 18300, *few) as training:
        enter_training(tab, training)
        tab.get_by_text("PSNR").first.wait_for(timeout=60_000)
        until(tab, lambda: not_white(picture(tab)).sum() > 2000, 60)
        tab.get_by_role("button", name="Pause").click()
        tab.get_by_text("paused").wait_for()
        lines = (output / "log.jsonl").read_text().count("\n")
        tab.wait_for_timeout(1500)
        assert (output / "log.jsonl").read_text().count("\n") <= lines + 1
        tab.get_by_role("button", name="Continue").click()
        tab.get_by_text("granularity").wait_for(timeout=180_000)
        assert (output / "metrics.json").is_file()
        until(tab, lambda: "Ctrl-C ends it" in training.said())
    assert training.returncode == 0
    assert "Traceback" not in training.said()
    assert "page closed" in training.said()


def test_a_training_that_is_stopped_on_the_page_goes_on_with_resume(tab, toy, tmp_path):
    output = tmp_path / "stopped"
    with training_on_a_page(toy, output, 18400, "--gaussians.steps", "30000") as training:
        enter_training(tab, training)
        tab.get_by_text(re.compile(r"step \d+")).first.wait_for(timeout=60_000)
        tab.get_by_role("button", name="Stop").click()
        training.wait(60)
    assert training.returncode == 130
    assert "--resume" in training.said()
    assert (output / "checkpoint" / "gaussians.npz").is_file()


@contextmanager
def training_on_a_page(data, output, port, *flags):
    """`train --view` in a process of its own, which is ended as by a plain `kill`."""
    command = [sys.executable, "-m", "splat_uff", "train", "--data", str(data)]
    command += ["--output", str(output), "--view", "--port", str(port), *flags]
    log = output.with_suffix(".log")
    with log.open("w") as file:
        # Not by Ctrl-C, which is ignored in the background jobs of a script.
        process = subprocess.Popen(command, stdout=file, stderr=file)
        process.said = log.read_text
        try:
            yield process
            process.terminate()
            process.wait(60)
        finally:
            process.kill()
            process.wait()


def enter_training(tab, training):
    address = re.compile(r"page: (http://127\.0\.0\.1:\d+)")
    until(tab, lambda: address.search(training.said()), 60)
    found = address.search(training.said())
    assert found is not None
    tab.goto(found[1])


def not_white(pixels):
    return pixels.min(axis=2) < 200
