"""Our binary glTF in viewers of others: what is up is up, left is left, and colours are right."""

import io
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from splat_uff.export.glb import write_glb
from splat_uff.gaussians.ply import gaussians_of
from splat_uff.geometry.cameras import Camera
from splat_uff.render.compositing import render_over_white
from splat_uff.render.harmonics import C0
from tests.export.glb_files import make_splats
from tests.programs import require_node

pytestmark = pytest.mark.slow
SIDE = 400
FOCAL = SIDE / 2 / np.tan(0.4)
"""Focal length in pixels of a square view of 0.8 radians."""
BLOBS = {  # As a camera sees them that looks along +z, with y down: centre and colour.
    "left": ((-1.0, 0.0, 4.0), (0.9, 0.1, 0.1)),
    "right": ((1.0, 0.0, 4.0), (0.1, 0.7, 0.1)),
    "top": ((0.0, -1.0, 4.0), (0.1, 0.2, 0.9)),
    "bottom": ((0.0, 1.0, 4.0), (0.9, 0.5, 0.1)),
}
BABYLON = """<!doctype html><html><body style="margin:0">
<canvas id="canvas" width="400" height="400" style="display:block;width:400px;height:400px">
</canvas><script src="babylon.js"></script><script src="loaders.js"></script><script>
BABYLON.SceneLoader.ShowLoadingScreen = false;
async function main(rightHanded) {
  const engine = new BABYLON.Engine(document.getElementById("canvas"), false,
    {preserveDrawingBuffer: true});
  const scene = new BABYLON.Scene(engine);
  scene.useRightHandedSystem = rightHanded;
  scene.clearColor = new BABYLON.Color4(1, 1, 1, 1);
  const camera = new BABYLON.FreeCamera("camera", BABYLON.Vector3.Zero(), scene);
  camera.setTarget(new BABYLON.Vector3(0, 0, -1));
  camera.fov = 0.8;
  camera.minZ = 0.01;
  await BABYLON.SceneLoader.AppendAsync("", "scene.glb", scene);
  engine.runRenderLoop(() => scene.render());
  await scene.whenReadyAsync();
  window.kinds = scene.meshes.map((mesh) => mesh.getClassName());
  window.shown = true;
}
main(new URLSearchParams(location.search).has("right")).catch((error) => {
  window.failure = String(error);
});
</script></body></html>"""

THREE = """<!doctype html><html><body style="margin:0"><script type="importmap">{"imports": {
  "three": "./three/build/three.webgpu.js", "three/webgpu": "./three/build/three.webgpu.js",
  "three/tsl": "./three/build/three.tsl.js", "three/addons/": "./three/examples/jsm/"
}}</script><script type="module">
import * as THREE from "three/webgpu";
import { GLTFLoader } from "three/addons/loaders/GLTFLoader.js";
import { GLTFGaussianSplatLoaderExtension }
  from "three/addons/loaders/GLTFGaussianSplatLoaderExtension.js";

async function main(splats) {
  const renderer = new THREE.WebGPURenderer({ forceWebGL: true, antialias: false });
  renderer.setSize(400, 400);
  // Splats of three are sRGB as they come; points are made sRGB at the end.
  if (splats) renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
  document.body.appendChild(renderer.domElement);
  renderer.domElement.style.display = "block";
  await renderer.init();
  const scene = new THREE.Scene();
  scene.background = new THREE.Color(1, 1, 1);
  const camera = new THREE.PerspectiveCamera(0.8 * 180 / Math.PI, 1, 0.01, 100);
  const loader = new GLTFLoader();
  if (splats) loader.register((parser) => new GLTFGaussianSplatLoaderExtension(parser));
  const gltf = await loader.loadAsync("scene.glb");
  scene.add(gltf.scene);
  window.kinds = [];
  gltf.scene.traverse((object) => window.kinds.push(object.type));
  window.extras = gltf.asset.extras;
  let frames = 0;
  renderer.setAnimationLoop(() => {
    renderer.render(scene, camera);
    frames += 1;
    window.shown = frames > 3;
  });
}
main(new URLSearchParams(location.search).has("splats")).catch((error) => {
  window.failure = String(error.stack);
});
</script></body></html>"""


def blobs():
    """Four clouds of small Gaussians of three sizes; the orange one is grey but for harmonics.

    Its higher harmonics make it orange as seen along +z, and blue as seen from behind.
    """
    rng = np.random.default_rng(0)
    tables = []
    for name, (centre, colour) in BLOBS.items():
        table = make_splats(150)
        points = rng.normal(size=(150, 3)) * (0.12, 0.12, 0.08) + centre
        for axis, letter in enumerate("xyz"):
            table[letter] = points[:, axis]
            table[f"scale_{axis}"] = np.log((0.12, 0.03, 0.03)[axis])
        for i, part in enumerate((0.6, 0.4, 0.4, 0.6)):  # wxyz; not the same if turned back.
            table[f"rot_{i}"] = part
        table["opacity"] = 2
        for i in range(9):
            table[f"f_rest_{i}"] = 0
        for channel, value in enumerate(colour):
            table[f"f_dc_{channel}"] = 0 if name == "bottom" else (value - 0.5) / C0
            if name == "bottom":
                table[f"f_rest_{3 * channel + 1}"] = (value - 0.5) / 0.4886 / 0.97
        tables.append(table)
    return np.concatenate(tables)


@pytest.fixture(scope="module")
def table():
    return blobs()


@pytest.fixture(scope="module")
def ours(table):
    """Picture by our own rasterizer, of the table as it was."""
    K = np.array([[FOCAL, 0, SIDE / 2], [0, FOCAL, SIDE / 2], [0, 0, 1]])
    return render_over_white(gaussians_of(table), Camera(np.eye(4), K, SIDE, SIDE))


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and the address at which it is served."""
    handler = partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def place(pixels, colour, fewest=200):
    """Middle of the pixels of about a colour, as column and row from 0 to 1, and their number."""
    near = np.abs(pixels - np.array(colour)).max(axis=2) < 0.15
    rows, columns = np.nonzero(near)
    assert len(rows) > fewest, f"{colour} is not seen"
    return np.array([columns.mean(), rows.mean()]) / SIDE, len(rows)


def check_picture(pixels, ours, blobs=BLOBS):
    """Compare a picture with our own: places, sizes and colours of the blobs."""
    assert (pixels > 0.98).all(axis=2).mean() > 0.5, "most of the picture should be background"
    for name, (_, colour) in blobs.items():
        (there, size), (here, own) = place(pixels, colour), place(ours, colour)
        np.testing.assert_allclose(there, here, atol=0.01, err_msg=name)
        assert 0.8 < size / own < 1.25, name
    drawn = (ours < 0.97).any(axis=2)
    assert np.abs(pixels - ours)[drawn].mean() < 0.05


def picture(tab, address, failure="window.failure"):
    """Picture of a page, once it has drawn all."""
    said = []
    tab.on("console", lambda message: said.append(message.text))
    tab.goto(address)
    tab.wait_for_function(f"window.shown || {failure}", timeout=60_000)
    assert tab.evaluate(failure) is None, [tab.evaluate(failure), *said]
    size = {"x": 0, "y": 0, "width": SIDE, "height": SIDE}
    before = np.ones((SIDE, SIDE, 3))
    for _ in range(60):  # Splats are sorted by a worker, and then drawn again.
        tab.wait_for_timeout(500)
        image = Image.open(io.BytesIO(tab.screenshot(clip=size))).convert("RGB")
        pixels = np.asarray(image) / 255
        if (pixels < 0.9).any() and (pixels == before).all():
            return pixels
        before = pixels
    raise AssertionError(f"there is no picture yet: {said}")


def show(path: Path, pixels):
    Image.fromarray(np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)).save(path)


@pytest.mark.parametrize("handed", ["right", "left"])
def test_babylon_shows_the_scene_as_we_do(tab, served, table, ours, handed):
    folder, address = served
    core, loaders = require_node("babylonjs"), require_node("babylonjs-loaders")
    (folder / "babylon.js").symlink_to(core / "babylon.js")
    (folder / "loaders.js").symlink_to(loaders / "babylonjs.loaders.min.js")
    (folder / "index.html").write_text(BABYLON)
    write_glb(folder / "scene.glb", table)
    pixels = picture(tab, f"{address}/?{handed}")
    show(folder / "babylon.png", np.concatenate([pixels, ours], axis=1))
    assert "GaussianSplattingMesh" in tab.evaluate("window.kinds")
    check_picture(pixels, ours)


def test_three_shows_the_scene_as_we_do(tab, served, table, ours):
    folder, address = served
    (folder / "three").symlink_to(require_node("three"))
    (folder / "index.html").write_text(THREE)
    write_glb(folder / "scene.glb", table)
    pixels = picture(tab, f"{address}/?splats")
    show(folder / "three.png", np.concatenate([pixels, ours], axis=1))
    assert "GaussianSplat" in tab.evaluate("window.kinds")
    check_picture(pixels, ours)


def test_a_viewer_without_splats_shows_coloured_points(tab, served, table, ours):
    folder, address = served
    (folder / "three").symlink_to(require_node("three"))
    (folder / "index.html").write_text(THREE)
    write_glb(folder / "scene.glb", table)
    pixels = picture(tab, f"{address}/?points")
    assert tab.evaluate("window.kinds") == ["Group", "Points"]
    matrix = tab.evaluate("window.extras.gltf_from_source")
    assert matrix == np.diag([1, -1, -1, 1]).tolist()
    for name, (_, colour) in BLOBS.items():
        seen = (0.5, 0.5, 0.5) if name == "bottom" else colour  # Points have no harmonics.
        there, _ = place(pixels, seen, fewest=50)
        np.testing.assert_allclose(there, place(ours, colour)[0], atol=0.02, err_msg=name)
