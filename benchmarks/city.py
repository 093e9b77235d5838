"""A splat of any size with known parts, and a capture of it: a city of houses.

    python benchmarks/city.py FOLDER --gaussians 1000000 --views 200 --width 1600

writes `city.ply`, `labels.npz` (the part and the house of each Gaussian) and a capture with label
maps as masks. The houses stand in a square; each has a body, a roof, a chimney, a tree and its
trunk. Gaussians are flat and lie on the surfaces, with a standard deviation of about their
distance, and their number is shared by area. Photos are renderings of the splat.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image

from splat_uff.gaussians.ply import save_ply
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL, Camera
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.render import Gaussians
from splat_uff.render.compositing import render_over_white
from splat_uff.system.errors import told_in_one_line
from splat_uff.system.progress import track

HOUSES = 7
"""Houses on a side of the square."""
PARTS = 5
"""Parts of a house."""
DISTRICT = 3
"""Houses on a side of a district, the coarsest masks."""
WIDER = 0.7
"""Standard deviation of a Gaussian along its surface, in square roots of the area that it has."""
FLAT = 0.1
"""Standard deviation across the surface, relative to that along it."""
ASPECT = 1.5
"""Width of a photo relative to its height."""
FEWEST_PIXELS = 40
"""Pixels of the smallest mask, at a width of 400."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gaussians", type=int, default=100_000)
    parser.add_argument("--views", type=int, default=50)
    parser.add_argument("--width", type=int, default=400, help="width of the photos, in pixels")
    options = parser.parse_args()
    make_city(options.folder, options.gaussians, options.views, options.width)


def make_city(folder: Path, count: int, views: int, width: int, *, share: float = 1.0) -> None:
    """Write a city of `count` Gaussians and its capture of `views` photos.

    Args:
        folder: Folder to write into.
        count: Number of Gaussians.
        views: Number of photos.
        width: Width of the photos, in pixels.
        share: Share of the houses whose masks are kept.
    """
    gaussians, parts, houses = city(count)
    folder.mkdir(parents=True)
    save_ply(folder / "city.ply", gaussians)
    np.savez(folder / "labels.npz", parts=parts, houses=houses)
    column, row = (houses - 1) % HOUSES // DISTRICT, (houses - 1) // HOUSES // DISTRICT
    districts = np.where(houses > 0, 1 + column + (HOUSES // DISTRICT + 1) * row, 0)
    known = np.random.default_rng(1).permutation(np.arange(1, HOUSES**2 + 1))
    known = known[: round(share * len(known))]
    levels = np.stack([1 + np.where(np.isin(houses, known), parts, 0), 1 + houses, 1 + districts])
    for name in ("images", "masks"):
        (folder / name).mkdir()
    cameras, frames = cameras_around(views, width), []
    for number, camera in enumerate(track(cameras, "photos", len(cameras))):
        name = f"p{number:04d}"
        image = np.rint(255 * render_over_white(gaussians, camera)).astype(np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{name}.jpg", quality=95)
        maps = label_maps(blended_votes(gaussians, camera), levels)
        for level, labels in enumerate(np.maximum(maps - 1, 0)):
            sizes = np.bincount(labels.ravel())
            labels[sizes[labels] < FEWEST_PIXELS * (width / 400) ** 2] = 0
            ending = f"_{level}" if level else ""
            Image.fromarray(labels.astype(np.uint16)).save(folder / "masks" / f"{name}{ending}.png")
        pose = camera.world_from_cam @ OPENCV_FROM_OPENGL
        frames.append({"file_path": f"images/{name}.jpg", "transform_matrix": pose.tolist()})
    K, camera = cameras[0].K, cameras[0]
    lens = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
    record = {"w": camera.width, "h": camera.height, **lens, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(record), encoding="utf-8")


def city(count: int) -> tuple[Gaussians, Int[np.ndarray, "N"], Int[np.ndarray, "N"]]:
    """Gaussians, and the part and the house of each, from 1; 0 is the ground."""
    rng = np.random.default_rng(0)
    surfaces = [(0, 0, _box((0, 0, -0.01), (1.1, 1.1, 0.01)))]
    step = 2 / HOUSES
    for house in range(HOUSES**2):
        x, y = (-1 + step * (0.5 + each) for each in (house % HOUSES, house // HOUSES))
        for kind, surface in enumerate(_house(rng, x, y, step)):
            surfaces.append((1 + PARTS * house + kind, 1 + house, surface))
    areas = np.array([area for _, _, (area, _) in surfaces])
    shares = np.floor(count * areas / areas.sum()).astype(int)
    shares[0] += count - shares.sum()
    points, normals, parts, houses, colours = [], [], [], [], []
    for (part, house, (_, draw)), number in zip(surfaces, shares, strict=True):
        some, across = draw(rng, number)
        points.append(some)
        normals.append(across)
        parts.append(np.full(number, part))
        houses.append(np.full(number, house))
        colours.append(rng.uniform(-1.2, 1.2, 3) + rng.normal(0, 0.15, (number, 3)))
    means, along = np.concatenate(points), WIDER * np.sqrt(areas.sum() / count)
    scales = np.full((count, 3), along) * np.array([1, 1, FLAT])
    columns = (
        means, _turned_to(np.concatenate(normals)), np.log(scales), np.full(count, 2.5),
        np.concatenate(colours)[:, None], rng.normal(0, 0.02, (count, 15, 3)),
    )  # fmt: skip
    gaussians = Gaussians(*(torch.from_numpy(each.astype(np.float32)) for each in columns))
    return gaussians, np.concatenate(parts), np.concatenate(houses)


def cameras_around(count: int, width: int) -> list[Camera]:
    """Cameras on three rings above the city, which look at places in it."""
    height = round(width / ASPECT)
    focal = 0.9 * width
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    cameras = []
    for number in range(count):
        angle, ring = 2.39996 * number, number % 3  # The golden angle.
        place = np.array([np.cos(angle), np.sin(angle), 0]) * (1.9, 1.6, 1.1)[ring]
        place[2] = (0.5, 0.9, 1.4)[ring]
        turn = 1.7 * number
        forward = np.array([0.3 * np.cos(turn), 0.3 * np.sin(turn), 0.05]) - place
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1.0])
        right /= np.linalg.norm(right)
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(forward, right), forward, place], axis=1)
        cameras.append(Camera(pose, K, width, height))
    return cameras


def _house(rng: np.random.Generator, x: float, y: float, step: float) -> list:
    """Body, roof, chimney, crown and trunk."""
    wide, deep = step * rng.uniform(0.16, 0.26, 2)
    high = step * rng.uniform(0.2, 0.7)
    x, y = x - 0.1 * step, y - 0.1 * step
    tree = x + wide + 0.16 * step, y + deep + 0.12 * step
    return [
        _box((x, y, high / 2), (wide, deep, high / 2)),
        _box((x, y, high + 0.03 * step), (1.1 * wide, 1.1 * deep, 0.03 * step)),
        _box((x + wide / 2, y, high + 0.12 * step), (0.05 * step, 0.05 * step, 0.06 * step)),
        _ball((*tree, 0.33 * step), 0.13 * step),
        _box((*tree, 0.1 * step), (0.03 * step, 0.03 * step, 0.1 * step)),
    ]


def _box(centre: tuple, half: tuple) -> tuple:
    """Area of a box, and a function that draws points and normals on it."""
    sides = np.array([half[1] * half[2], half[0] * half[2], half[0] * half[1]]).repeat(2) * 4

    def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        side = rng.choice(6, count, p=sides / sides.sum())
        points, normals = rng.uniform(-1, 1, (count, 3)), np.zeros((count, 3))
        rows = np.arange(count)
        points[rows, side // 2] = normals[rows, side // 2] = 2.0 * (side % 2) - 1
        return np.array(centre) + points * half, normals

    return sides.sum(), draw


def _ball(centre: tuple, radius: float) -> tuple:
    """Area of a ball, and a function that draws points and normals on it."""

    def draw(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
        normals = rng.normal(size=(count, 3))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return np.array(centre) + radius * normals, normals

    return 4 * np.pi * radius**2, draw


def _turned_to(normals: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 4"]:
    """Rotations that lead the z axis to each normal, wxyz."""
    quats = np.stack(
        [1 + normals[:, 2], -normals[:, 1], normals[:, 0], np.zeros(len(normals))], axis=1
    )
    quats[normals[:, 2] < -1 + 1e-9] = (0, 1, 0, 0)
    return quats / np.linalg.norm(quats, axis=1, keepdims=True)


if __name__ == "__main__":
    with told_in_one_line():
        main()
