"""Our files in Spark, a renderer of splats for three.js: number, places, colours, and way up."""

import re
import threading
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from splat_uff.export.splats import PART_ENDINGS, write_splats
from splat_uff.gaussians.ply import gaussians_of
from splat_uff.geometry.cameras import Camera
from splat_uff.render.compositing import render_over_white
from tests.browser.test_glb import (
    BLOBS,
    FOCAL,
    SIDE,
    Quiet,
    blobs,
    check_picture,
    picture,
    place,
    show,
)
from tests.programs import require_node

pytestmark = pytest.mark.slow
PAGE = """<!doctype html><html><body style="margin:0"><script type="importmap">{"imports": {
  "three": "./three/build/three.module.js", "three/addons/": "./three/examples/jsm/",
  "@sparkjsdev/spark": "./spark/dist/spark.module.js"
}}</script><script type="module">
import * as THREE from "three";
import { SparkRenderer, SplatMesh } from "@sparkjsdev/spark";

async function main(options) {
  const renderer = new THREE.WebGLRenderer({ preserveDrawingBuffer: true });
  renderer.setSize(400, 400);
  renderer.domElement.style.display = "block";
  document.body.appendChild(renderer.domElement);
  const scene = new THREE.Scene();
  scene.background = new THREE.Color(1, 1, 1);
  const camera = new THREE.PerspectiveCamera(0.8 * 180 / Math.PI, 1, 0.01, 100);
  scene.add(new SparkRenderer({ renderer }));
  const splats = new SplatMesh({ url: options.get("file") });
  if (options.has("turned")) splats.quaternion.set(1, 0, 0, 0);
  scene.add(splats);
  await splats.initialized;
  window.number = splats.packedSplats.numSplats;
  const centre = new THREE.Vector3();
  splats.forEachSplat((i, point) => centre.addScaledVector(point, 1 / window.number));
  window.centre = splats.localToWorld(centre).toArray();
  let frames = 0;
  renderer.setAnimationLoop(() => {
    renderer.render(scene, camera);
    frames += 1;
    window.shown = frames > 3;
  });
}
main(new URLSearchParams(location.search)).catch((error) => {
  window.failure = String(error.stack);
});
</script></body></html>"""


@pytest.fixture(scope="module")
def table():
    return blobs()


def rendered(table):
    """Picture of a table by our own rasterizer, as a camera at the origin sees it."""
    K = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1]])
    return render_over_white(gaussians_of(table), Camera(np.eye(4), K, SIDE, SIDE))


@pytest.fixture(scope="module")
def ours(table):
    return rendered(table)


@contextmanager
def serving(folder):
    """Address at which a folder is served."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def served(tmp_path):
    """A folder with a page that shows a file, and the address at which it is served."""
    (tmp_path / "three").symlink_to(require_node("three"))
    (tmp_path / "spark").symlink_to(require_node("@sparkjsdev/spark"))
    (tmp_path / "index.html").write_text(PAGE)
    with serving(tmp_path) as address:
        yield tmp_path, address


def shown(tab, served, table, format, turned=True):
    """Number of splats and picture of a table in a format, for a camera that looks along -z."""
    folder, address = served
    name = f"part{PART_ENDINGS[format]}"
    write_splats(folder / name, table, format)
    pixels = picture(tab, f"{address}/?file={name}{'&turned' if turned else ''}")
    show(folder / f"{format}.png", pixels)
    return tab.evaluate("window.number"), pixels


@pytest.mark.parametrize("format", ["ply", "compressed-ply", "sog"])
def test_spark_shows_splats_as_we_do_once_they_are_turned(tab, served, table, ours, format):
    number, pixels = shown(tab, served, table, format)
    assert number == len(table)
    check_picture(pixels, ours)


def test_spark_shows_an_spz_as_we_do_without_a_turn(tab, served, table, ours):
    number, pixels = shown(tab, served, table, "spz", turned=False)
    assert number == len(table)
    check_picture(pixels, ours)


def test_spark_shows_a_splat_as_we_do_but_without_harmonics(tab, served, table):
    flat = table.copy()
    for i in range(9):
        flat[f"f_rest_{i}"] = 0
    number, pixels = shown(tab, served, table, "splat")
    assert number == len(table)
    grey = {**BLOBS, "bottom": (BLOBS["bottom"][0], (0.5, 0.5, 0.5))}
    check_picture(pixels, rendered(flat), grey)


def test_the_page_of_the_guide_shows_a_part_upright(tab, tmp_path, table):
    guide = Path(__file__).parents[2] / "docs" / "tools.md"
    (page,) = re.findall(
        r"^```html\n(.*?)^```$", guide.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (tmp_path / "index.html").write_text(page)
    (tmp_path / "node_modules").symlink_to(require_node("@sparkjsdev/spark").parents[1])
    nearer = table.copy()
    nearer["z"] -= 4  # The page looks at the origin.
    write_splats(tmp_path / "01.ply", nearer, "ply")
    tab.set_viewport_size({"width": SIDE, "height": SIDE})
    tab.add_init_script("window.shown = true;")
    with serving(tmp_path) as address:
        pixels = picture(tab, f"{address}/")
    show(tmp_path / "page.png", pixels)
    middles = {name: place(pixels, colour)[0] for name, (_, colour) in BLOBS.items()}
    assert middles["left"][0] < 0.4 < 0.6 < middles["right"][0]
    assert middles["top"][1] < 0.4 < 0.6 < middles["bottom"][1]
