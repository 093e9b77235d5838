"""Writing a built-in scene in the Blender-HS layout (docs/input.md)."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TypeVar

import numpy as np
import tifffile
from jaxtyping import Float, Int
from PIL import Image

from splat_uff.geometry.cameras import Camera, camera_from_opengl, pixel_centres
from splat_uff.scenes.catalogue import Recipe
from splat_uff.scenes.covisible import covisible_pixels
from splat_uff.scenes.poses import TURNS, turned_pose
from splat_uff.scenes.raytrace import (
    TracedScene,
    build_scene,
    cast,
    render_ids,
    render_photo,
)
from splat_uff.system.files import write_json
from splat_uff.system.progress import Bar, progress_bar

T = TypeVar("T")
Poses = list[Float[np.ndarray, "4 4"]]
OnIds = Callable[[str, str, Int[np.ndarray, "H W"], Int[np.ndarray, "H W"]], None]
"""Function called with split (`train` or `val`), view (`r_0`), and object and collection ids."""

DEPTH_RANGE = 8.0
"""Range that the 256 levels of the 8-bit depth images span, in world units."""


def write_scene(
    folder: Path,
    name: str,
    recipe: Recipe,
    *,
    rng: np.random.Generator,
    on_ids: OnIds | None = None,
) -> None:
    """Make a scene and write everything but its masks.

    Args:
        folder: Existing folder to fill.
        name: Name of the scene, for the record and the progress bar.
        recipe: Recipe of the scene.
        rng: Generator that draws the training cameras.
        on_ids: Called for each training and held-out view with ids at the size of the photos, to
            make masks; calls come from several threads, in any order.
    """
    cameras = recipe.cameras
    train, val = cameras.train(recipe.num_train, rng=rng), cameras.val(recipe.num_val)
    turned = {degrees: [turned_pose(pose, degrees=degrees) for pose in val] for degrees in TURNS}
    _write_transforms(folder, cameras.angle_x, train, val, turned)
    with progress_bar(f"making {name}", len(train) + 2 * len(val)) as bar:
        scene = build_scene(recipe.build(), recipe.lighting)
        jobs: list[tuple[str, str, Float[np.ndarray, "4 4"]]] = []
        for split, poses in (("train", train), ("val", val), ("val_rotate", turned[10])):
            (folder / split).mkdir()
            if split != "val_rotate":
                (folder / "gt_seg" / split).mkdir(parents=True)
            jobs += [(split, f"r_{index}", pose) for index, pose in enumerate(poses)]
        _run_all(lambda job: _write_view(folder, *job, scene, recipe, on_ids), jobs, bar)
        _write_depth_and_visibility(folder, scene, recipe, val, turned)
    write_json(
        folder / "scene.json",
        {
            "name": name,
            "description": recipe.description,
            "objects": dict(enumerate(scene.objects, 1)),
            "collections": dict(enumerate(scene.collections, 1)),
        },
    )


def _write_view(
    folder: Path,
    split: str,
    view: str,
    pose: Float[np.ndarray, "4 4"],
    scene: TracedScene,
    recipe: Recipe,
    on_ids: OnIds | None,
) -> None:
    camera = _camera(pose, recipe, recipe.photo_size)
    photo, hits = render_photo(scene, camera)
    _save_image(folder / split / f"{view}.png", photo)
    if split == "val_rotate":
        return
    if on_ids is not None:
        shape = (camera.height, camera.width)
        objects, collections = render_ids(scene, hits)
        on_ids(split, view, objects.reshape(shape), collections.reshape(shape))
    camera = _camera(pose, recipe, recipe.truth_size)
    ids = render_ids(scene, cast(scene, camera, pixel_centres(camera)))
    for kind, values in zip(("objects", "collections"), ids, strict=True):
        image = _three_channels(values.reshape(camera.height, camera.width))
        path = folder / "gt_seg" / split / f"{view}_seg_{kind}.tif"
        tifffile.imwrite(path, image, photometric="rgb", metadata=None)


def _write_depth_and_visibility(
    folder: Path, scene: TracedScene, recipe: Recipe, val: Poses, turned: dict[int, Poses]
) -> None:
    for name in ("val_depth", "val_visible"):
        (folder / name).mkdir()
    for index, pose in enumerate(val):
        camera = _camera(pose, recipe, recipe.truth_size)
        depth = _depth(scene, camera)
        np.save(folder / "val_depth" / f"r_{index}_z.npy", depth)
        levels = np.clip(np.rint(256 * (1 - depth / DEPTH_RANGE)), 1, 255)
        levels = np.where(depth > 0, levels, 0)  # 0 is background, so no surface may round to it.
        _save_image(folder / "val_depth" / f"r_{index}_depth.png", _three_channels(levels))
        for degrees in TURNS:
            twin = _camera(turned[degrees][index], recipe, recipe.truth_size)
            twin_depth = _depth(scene, twin)
            ending = "" if degrees == 10 else f"_{degrees}"
            here = covisible_pixels(camera, depth, twin, twin_depth)
            there = covisible_pixels(twin, twin_depth, camera, depth)
            for word, seen in (("", here), ("_rotate", there)):
                path = folder / "val_visible" / f"r_{index}{word}{ending}.png"
                _save_image(path, _three_channels(255 * seen))


def _depth(scene: TracedScene, camera: Camera) -> Float[np.ndarray, "H W"]:
    depth = cast(scene, camera, pixel_centres(camera)).depth
    return depth.reshape(camera.height, camera.width)


def _camera(pose: Float[np.ndarray, "4 4"], recipe: Recipe, size: int) -> Camera:
    return camera_from_opengl(pose, angle_x=recipe.cameras.angle_x, width=size, height=size)


def _write_transforms(
    folder: Path, angle_x: float, train: Poses, val: Poses, turned: dict[int, Poses]
) -> None:
    """Write one file per split; views rotated by 10 degrees are written under both usual names."""
    splits = [
        ("train", "train", train),
        ("val", "val", val),
        ("val_rotate", "val_rotate", turned[10]),
    ]
    for degrees, poses in turned.items():
        images = "val_rotate" if degrees == 10 else f"val_rotate_{degrees}"
        splits.append((f"val_rotate_{degrees}", images, poses))
    for split, images, poses in splits:
        frames = [
            {"file_path": f"./{images}/r_{index}", "transform_matrix": pose.tolist()}
            for index, pose in enumerate(poses)
        ]
        record = {"camera_angle_x": angle_x, "frames": frames}
        write_json(folder / f"transforms_{split}.json", record)


def _three_channels(values: np.ndarray) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=2).astype(np.uint8)


def _save_image(path: Path, image: np.ndarray) -> None:
    Image.fromarray(image).save(path, compress_level=4)


def _run_all(work: Callable[[T], None], jobs: Sequence[T], bar: Bar) -> None:
    """Run all jobs on all cores; the first error, or Ctrl-C, cancels those not yet started."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        running = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(running):
                future.result()
                bar.advance()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
