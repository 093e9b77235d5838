"""Render a .blend as a Blender-HS capture: photos, true objects and collections, depth, visibility.

    blender -b scene.blend -P tools/render_blender_hs.py -- --output captures/scene
    python tools/render_blender_hs.py scene.blend --output captures/scene      # pip install bpy
    python tools/render_blender_hs.py --demo --output captures/demo

Photos are rendered by Cycles. Everything else is exact, by rays through the centres of pixels: the
first surface that a ray meets, whatever it is made of. Every object that is rendered counts as one,
and so does every collection that holds objects itself; `scene.json` names them. Cut off, the same
command goes on.

The capture is brought into the frame of NeRF-synthetic, cameras 4.0311 from the origin: the
middle of the objects goes to the origin, and everything is scaled. `--keep-frame` leaves a scene
as it is, for .blend files that were made for that frame. Needs Pillow and tifffile in the Python
that runs it.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DISTANCE = 4.0311289
"""Units of the capture between cameras and origin, as in NeRF-synthetic."""
ANGLE_X = 0.6911112070083618
"""Horizontal field of view, radians, as there."""
TURNS = (10, 45, 90, 135)
"""Degrees between a held-out view and its rotated twins."""
DEPTH_RANGE = 8.0
"""Units that the 256 levels of the 8-bit depth span."""
FILLED = 0.95
"""Share of the field of view that the ball around the objects takes."""
SHIFT = 1e-4
"""Share of the distance by which two surfaces may differ and be the same one."""


def main() -> None:
    """Parse what stands behind `--` under Blender, or the whole command line without it."""
    words = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    parser = argparse.ArgumentParser(
        prog="render_blender_hs.py", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "blend", nargs="?", type=Path, help=".blend file; the open one under Blender"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the capture")
    parser.add_argument("--demo", action="store_true", help="render a small scene made in here")
    parser.add_argument("--train", type=int, default=100, help="training views")
    parser.add_argument("--val", type=int, default=20, help="held-out views")
    parser.add_argument("--size", type=int, default=800, help="pixels of a side")
    parser.add_argument("--samples", type=int, default=64, help="rays a pixel of the photos")
    parser.add_argument("--seed", type=int, default=0, help="draws the training cameras")
    parser.add_argument(
        "--keep-frame", action="store_true", help="neither move nor scale the scene"
    )
    options = parser.parse_args(words)
    try:
        _check(options)
        render_capture(options)
    except Mistake as mistake:
        print(f"error: {mistake}", file=sys.stderr)
        sys.exit(2)


GEOMETRY = ("MESH", "CURVE", "SURFACE", "META", "FONT")
"""Types of objects that Blender makes triangles of."""


class Mistake(Exception):
    """What a person can put right."""


def _check(options: argparse.Namespace) -> None:
    for name, least in (("train", 1), ("val", 1), ("size", 8), ("samples", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise Mistake(f"--{name} is {getattr(options, name)}; expected at least {least}.")
    if options.blend is not None and options.demo:
        raise Mistake("give a .blend file or --demo, not both.")
    if options.blend is not None and not options.blend.is_file():
        raise Mistake(f"no file {options.blend}; expected a .blend.")
    for package, name in (("bpy", "bpy"), ("PIL", "pillow"), ("tifffile", "tifffile")):
        try:
            __import__(package)
        except ImportError:
            raise Mistake(
                f"{package} is missing in {sys.executable}; {sys.executable} -m pip install {name}."
            ) from None


def render_capture(options: argparse.Namespace) -> None:
    """Write the whole capture; poses come last, so that a folder without them is not done.

    Raises:
        Mistake: If there is nothing to render, or the folder holds another capture.
    """
    import bpy

    if options.demo:
        make_demo()
    elif options.blend is not None:
        try:
            bpy.ops.wm.open_mainfile(filepath=str(options.blend.resolve()))
        except RuntimeError:
            raise Mistake(
                f"{options.blend} is no .blend that Blender opens; save it again."
            ) from None
    truth = Truth.of_open_scene()
    frame = (1.0, np.zeros(3)) if options.keep_frame else _fitted_frame(truth.vertices)
    truth = truth.moved(*frame)
    output = options.output
    record = {
        "source": "demo" if options.demo else Path(bpy.data.filepath).name,
        "size": options.size,
        "samples": options.samples,
        "seed": options.seed,
        "views": [options.train, options.val],
        "scale": frame[0],
        "centre": frame[1].tolist(),
        "objects": dict(enumerate(truth.objects, 1)),
        "collections": dict(enumerate(truth.collections, 1)),
    }
    _begin(output, json.loads(json.dumps(record)))
    poses = {
        "train": train_poses(options.train, np.random.default_rng(options.seed)),
        "val": val_poses(options.val),
    }
    total = options.train + 2 * options.val
    done, start = 0, time.monotonic()
    for split, views in poses.items():
        for index, pose in enumerate(views):
            _photo(output / split / f"r_{index}.png", pose, frame, options)
            _ids(output / "gt_seg" / split, f"r_{index}", truth, pose, options.size)
            done = _say(done, total, start)
    for index, pose in enumerate(poses["val"]):
        _depth_and_visibility(output, f"r_{index}", truth, pose, options.size)
        done = _say(done, total, start)
    for degrees in TURNS:
        twins = [turned(pose, degrees) for pose in poses["val"]]
        folder = "val_rotate" if degrees == 10 else f"val_rotate_{degrees}"
        _write_poses(output / f"transforms_val_rotate_{degrees}.json", folder, twins)
        if degrees == 10:
            _write_poses(output / "transforms_val_rotate.json", folder, twins)
    _write_poses(output / "transforms_val.json", "val", poses["val"])
    _write_poses(output / "transforms_train.json", "train", poses["train"])
    print(f"{len(truth.objects)} objects in {len(truth.collections)} collections, in {output}")


def train_poses(count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """OpenGL poses [4, 4] drawn evenly from the upper hemisphere, short of the pole."""
    turns, heights = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.02, 0.93, count)
    return [_look_at_origin(*each) for each in zip(turns, heights, strict=True)]


def val_poses(count: int) -> list[np.ndarray]:
    """OpenGL poses [4, 4] spread evenly around, 15 to 50 degrees above the horizon."""
    golden = np.pi * (3 - np.sqrt(5))
    heights = 0.26 + 0.5 * ((np.arange(count) * 0.7548777) % 1)
    return [_look_at_origin(1 + golden * index, height) for index, height in enumerate(heights)]


def turned(pose: np.ndarray, degrees: float) -> np.ndarray:
    """The same camera carried around the vertical axis, counter-clockwise from above."""
    angle = math.radians(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    return matrix @ pose


def _look_at_origin(azimuth: float, height: float) -> np.ndarray:
    flat = math.sqrt(1 - height**2)
    back = np.array([flat * math.cos(azimuth), flat * math.sin(azimuth), height])
    right = np.array([-math.sin(azimuth), math.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(back, right), back], axis=1)
    pose[:3, 3] = DISTANCE * back
    return pose


@dataclass(frozen=True)
class Hits:
    """First surfaces along rays; `triangle` is -1 where there is none, `depth` then 0."""

    triangle: np.ndarray
    depth: np.ndarray
    """Along the optical axis."""
    points: np.ndarray


class Truth:
    """All triangles of what is rendered, and whose they are."""

    def __init__(
        self,
        vertices: np.ndarray,
        triangles: np.ndarray,
        owners: np.ndarray,
        objects: list[str],
        collections: list[str],
        collection_of_object: list[int],
    ) -> None:
        """Build the tree of boxes that rays are cast into.

        Args:
            vertices: Positions [V, 3].
            triangles: Rows of vertices [T, 3].
            owners: Object of each triangle [T], from 1.
            objects: Their names, sorted.
            collections: Names, sorted.
            collection_of_object: From 1, by object.
        """
        from mathutils.bvhtree import BVHTree

        self.vertices, self.triangles, self.owners = vertices, triangles, owners
        self.objects, self.collections = objects, collections
        self.collection_of_object = np.array([0, *collection_of_object])
        self._tree = BVHTree.FromPolygons(vertices.tolist(), triangles.tolist(), all_triangles=True)

    @staticmethod
    def of_open_scene() -> "Truth":
        """Evaluated meshes of everything that is rendered, instances and modifiers included."""
        import bpy

        _show_what_renders()
        found: dict[str, list[np.ndarray]] = {}
        home: dict[str, str] = {}
        for instance in bpy.context.evaluated_depsgraph_get().object_instances:
            shown = (instance.parent if instance.is_instance else instance.object).original
            if not (instance.show_self or instance.is_instance):
                continue
            corners = _corners(instance.object, np.array(instance.matrix_world))
            if len(corners):
                found.setdefault(shown.name, []).append(corners)
                holders = [holder.name for holder in shown.users_collection]
                home[shown.name] = min(holders, default="Scene Collection")
        if not found:
            raise Mistake("the scene renders no mesh; expected objects that are shown in renders.")
        objects, collections = sorted(found), sorted(set(home.values()))
        corners = [np.concatenate(found[name]) for name in objects]
        owners = np.repeat(np.arange(1, len(objects) + 1), [len(each) for each in corners])
        vertices = np.concatenate(corners).reshape(-1, 3)
        triangles = np.arange(len(vertices)).reshape(-1, 3)
        inside = [collections.index(home[name]) + 1 for name in objects]
        return Truth(vertices, triangles, owners, objects, collections, inside)

    def moved(self, scale: float, centre: np.ndarray) -> "Truth":
        """The same in the frame of the capture."""
        return Truth(
            (self.vertices - centre) * scale,
            self.triangles,
            self.owners,
            self.objects,
            self.collections,
            self.collection_of_object[1:].tolist(),
        )

    def look(self, pose: np.ndarray, size: int) -> Hits:
        """What the centre of each pixel of a square photo shows, row by row."""
        focal = size / 2 / math.tan(ANGLE_X / 2)
        steps = (np.arange(size) + 0.5 - size / 2) / focal
        x, y = np.meshgrid(steps, -steps)
        rays = np.stack([x, y, -np.ones_like(x)], axis=2).reshape(-1, 3) @ pose[:3, :3].T
        triangle, depth = np.full(len(rays), -1), np.zeros(len(rays))
        points = np.zeros((len(rays), 3))
        cast, origin = self._tree.ray_cast, pose[:3, 3]
        for index, ray in enumerate(rays.tolist()):
            location, _, number, _ = cast(origin, ray)
            if number is not None:
                triangle[index], points[index] = number, location
        hit = triangle >= 0
        depth[hit] = (origin - points[hit]) @ pose[:3, 2]
        return Hits(triangle, depth, points)

    def seen_from(self, hits: Hits, pose: np.ndarray) -> np.ndarray:
        """Which points another camera sees: in its frame, and nothing in between."""
        seen = np.zeros(len(hits.triangle), bool)
        local = (hits.points - pose[:3, 3]) @ pose[:3, :3]
        slope = math.tan(ANGLE_X / 2)
        ahead = -local[:, 2]
        framed = (hits.triangle >= 0) & (ahead > 0)
        framed &= (np.abs(local[:, :2]) <= slope * ahead[:, None]).all(axis=1)
        cast, origin = self._tree.ray_cast, pose[:3, 3]
        rays = hits.points - origin
        for index in np.flatnonzero(framed).tolist():
            _, _, number, distance = cast(origin, rays[index].tolist())
            length = float(np.linalg.norm(rays[index]))
            seen[index] = number is not None and distance >= (1 - SHIFT) * length
        return seen


def _show_what_renders() -> None:
    """Blender evaluates objects as the viewport shows them, so show there what is rendered."""
    import bpy

    for collection in bpy.data.collections:
        collection.hide_viewport = collection.hide_render
    for shown in bpy.data.objects:
        shown.hide_viewport = shown.hide_render
        if shown.name in bpy.context.view_layer.objects:
            shown.hide_set(shown.hide_render)
        for modifier in shown.modifiers:
            modifier.show_viewport = modifier.show_render
            if hasattr(modifier, "render_levels"):
                modifier.levels = modifier.render_levels
    bpy.context.view_layer.update()


def _corners(shown: Any, matrix: np.ndarray) -> np.ndarray:
    """Corners [T, 3, 3] of the triangles of an evaluated object, in the world; none of a light."""
    mesh = shown.to_mesh() if shown.type in GEOMETRY else None
    if mesh is None:
        return np.zeros((0, 3, 3))
    mesh.calc_loop_triangles()
    local = np.empty(3 * len(mesh.vertices))
    mesh.vertices.foreach_get("co", local)
    triangles = np.empty(3 * len(mesh.loop_triangles), np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    shown.to_mesh_clear()
    world = local.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
    return world[triangles.reshape(-1, 3)]


def _fitted_frame(vertices: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale and centre that make the ball around the objects fill the photos well."""
    centre = (vertices.min(axis=0) + vertices.max(axis=0)) / 2
    radius = float(np.linalg.norm(vertices - centre, axis=1).max())
    if radius == 0:
        raise Mistake("all objects are in one point; expected a scene of some size.")
    return FILLED * DISTANCE * math.sin(ANGLE_X / 2) / radius, centre


def _begin(output: Path, record: dict[str, Any]) -> None:
    path = output / "scene.json"
    if output.exists() and any(_is_kept(entry.name) for entry in output.iterdir()):
        try:
            same = json.loads(path.read_text(encoding="utf-8-sig")) == record
        except (OSError, ValueError):
            same = False
        if not same:
            raise Mistake(f"{output} holds something else; pass another --output or empty it.")
        return
    output.mkdir(parents=True, exist_ok=True)
    _write_text(path, json.dumps(record, indent=2))


def _is_kept(name: str) -> bool:
    """Whether a file was put there by somebody, and not left behind by a file manager."""
    return not name.startswith(".") and name.lower() not in ("thumbs.db", "desktop.ini")


def _photo(
    path: Path, pose: np.ndarray, frame: tuple[float, np.ndarray], options: argparse.Namespace
) -> None:
    """One photo, RGBA, with nothing where no object is."""
    if path.is_file():
        return
    import bpy
    from mathutils import Matrix

    scale, centre = frame
    scene = bpy.context.scene
    camera = scene.camera
    if camera is None or camera.name != "render_blender_hs":
        camera = bpy.data.objects.new("render_blender_hs", bpy.data.cameras.new("lens"))
        scene.collection.objects.link(camera)
        scene.camera = camera
    world = pose.copy()
    world[:3, 3] = pose[:3, 3] / scale + centre
    camera.matrix_world = Matrix(world.tolist())
    camera.data.type, camera.data.sensor_fit = "PERSP", "HORIZONTAL"
    camera.data.angle_x = ANGLE_X
    camera.data.clip_start, camera.data.clip_end = 0.01 / scale, 100 / scale
    render = scene.render
    render.engine, render.film_transparent = "CYCLES", True
    scene.cycles.device, scene.cycles.samples = "CPU", options.samples
    scene.cycles.seed = options.seed
    render.resolution_x = render.resolution_y = options.size
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1
    for name in dir(render):
        if name.startswith("use_stamp_"):  # Or the date is in the file, and no two are the same.
            setattr(render, name, False)
    render.use_border = render.use_compositing = render.use_sequencer = False
    settings = render.image_settings
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGBA", "8"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}")
    render.use_file_extension = False
    render.filepath = str(temporary.resolve())
    with _quiet():
        bpy.ops.render.render(write_still=True)
    temporary.replace(path)


def _ids(folder: Path, name: str, truth: Truth, pose: np.ndarray, size: int) -> None:
    """Object and collection of each pixel."""
    import tifffile

    paths = [folder / f"{name}_seg_{kind}.tif" for kind in ("objects", "collections")]
    if all(path.is_file() for path in paths):
        return
    folder.mkdir(parents=True, exist_ok=True)
    hits = truth.look(pose, size)
    objects = np.where(hits.triangle >= 0, truth.owners[hits.triangle], 0)
    for path, ids in zip(paths, (objects, truth.collection_of_object[objects]), strict=True):
        temporary = path.with_name(f".{path.name}")
        tifffile.imwrite(temporary, ids.reshape(size, size).astype(np.uint16), metadata=None)
        temporary.replace(path)


def _depth_and_visibility(
    output: Path, name: str, truth: Truth, pose: np.ndarray, size: int
) -> None:
    """Exact and 8-bit depth of a held-out view, and which pixels its twins share with it."""
    (output / "val_depth").mkdir(exist_ok=True)
    (output / "val_visible").mkdir(exist_ok=True)
    last = output / "val_visible" / f"{name}_rotate_{TURNS[-1]}.png"
    if last.is_file():
        return
    hits = truth.look(pose, size)
    depth = hits.depth.reshape(size, size)
    np.save(output / "val_depth" / f"{name}_z.npy", depth)
    levels = np.clip(np.rint(256 * (1 - depth / DEPTH_RANGE)), 1, 255)
    # 0 is background, so no surface may round to it.
    _write_grey(output / "val_depth" / f"{name}_depth.png", np.where(depth > 0, levels, 0))
    for degrees in TURNS:
        twin = turned(pose, degrees)
        ending = "" if degrees == 10 else f"_{degrees}"
        here = truth.seen_from(hits, twin)
        there = truth.seen_from(truth.look(twin, size), pose)
        for word, seen in (("", here), ("_rotate", there)):
            path = output / "val_visible" / f"{name}{word}{ending}.png"
            _write_grey(path, 255 * seen.reshape(size, size))


def _write_grey(path: Path, values: np.ndarray) -> None:
    """As the published captures do, in three equal channels."""
    from PIL import Image

    temporary = path.with_name(f".{path.name}")
    Image.fromarray(np.repeat(values[..., None], 3, axis=2).astype(np.uint8)).save(temporary, "PNG")
    temporary.replace(path)


def _write_poses(path: Path, folder: str, poses: list[np.ndarray]) -> None:
    frames = [
        {"file_path": f"./{folder}/r_{index}", "transform_matrix": pose.tolist()}
        for index, pose in enumerate(poses)
    ]
    _write_text(path, json.dumps({"camera_angle_x": ANGLE_X, "frames": frames}, indent=2))


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)


def _say(done: int, total: int, start: float) -> int:
    done += 1
    left = (time.monotonic() - start) / done * (total - done)
    end = "\n" if done == total or not sys.stderr.isatty() else "\r"
    print(f"{done} of {total}, {left:.0f} s left   ", end=end, file=sys.stderr, flush=True)
    return done


@contextmanager
def _quiet() -> Iterator[None]:
    """Cycles says several lines a second on stdout."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def make_demo() -> None:
    """A table with a ball and three cubes on it: five objects in two collections, and a light."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.world = bpy.data.worlds.new("world")
    scene.world.color = (0.6, 0.6, 0.6)

    def collection(name: str) -> Any:
        made = bpy.data.collections.new(name)
        scene.collection.children.link(made)
        return made

    def place(name: str, home: Any, colour: tuple[float, float, float]) -> None:
        shown = bpy.context.object
        shown.name = name
        for holder in list(shown.users_collection):
            holder.objects.unlink(shown)
        home.objects.link(shown)
        material = bpy.data.materials.new(name)
        material.use_nodes = True
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (
            *colour,
            1,
        )
        shown.data.materials.append(material)

    furniture, toys = collection("furniture"), collection("toys")
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, -0.1), scale=(1.5, 1.5, 0.1))
    place("table", furniture, (0.5, 0.35, 0.2))
    bpy.ops.mesh.primitive_uv_sphere_add(
        radius=0.5, segments=64, ring_count=32, location=(-0.5, 0.4, 0.5)
    )
    place("ball", toys, (0.8, 0.1, 0.1))
    for number, (x, y) in enumerate(((0.7, 0.6), (0.7, -0.4), (-0.4, -0.8))):
        bpy.ops.mesh.primitive_cube_add(size=0.5, location=(x, y, 0.25))
        place(f"cube {number}", toys, (0.1, 0.3 + 0.2 * number, 0.7))
    bpy.ops.object.light_add(type="SUN", rotation=(0.6, 0.3, 0))
    bpy.context.object.data.energy = 3


if __name__ == "__main__":
    # Python hears of Ctrl-C only between two photos; files appear whole whenever it strikes.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    main()
