"""A capture for a splat alone: virtual cameras, and photos rendered by them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from splat_uff.capture.nerfstudio import VIRTUAL, read_virtual
from splat_uff.gaussians.ply import gaussians_of
from splat_uff.gaussians.readings import suspected_readings
from splat_uff.gaussians.similarity import move_gaussians
from splat_uff.gaussians.source import SourceSplats
from splat_uff.geometry.cameras import OPENCV_FROM_OPENGL, Camera
from splat_uff.render import Gaussians
from splat_uff.render.compositing import render_fitted
from splat_uff.system.errors import InputError, argument
from splat_uff.system.files import replacing_folder, write_json
from splat_uff.system.progress import notice, track
from splat_uff.virtual.candidates import (
    PROBES,
    STANDS,
    Candidate,
    Kind,
    cameras_around,
    cameras_around_core,
    cameras_inside,
    find_core,
    free_positions,
    is_place,
    look_from,
)
from splat_uff.virtual.choose import Choice, choose_views
from splat_uff.virtual.config import VirtualConfig
from splat_uff.virtual.frame import SplatFrame, find_frame

FEWEST_INSIDE = 8
"""Cameras inside a place with fewer of which it is looked at from around."""
VERSION = 2
"""Version of the views and their photos; a capture of another one is made anew."""


@dataclass(frozen=True, eq=False)
class VirtualViews:
    """Cameras for a splat, and how they were chosen."""

    frame: SplatFrame
    kind: Kind
    surrounded: float
    """Share of all directions with matter, as seen from free positions within the splat."""
    train: list[Camera]
    """Training cameras in the local frame of `frame`, of the size of the photos."""
    held_out: list[Camera]
    choice: Choice

    @property
    def words(self) -> str:
        """What was found and chosen, in one line."""
        where = {"around": "around a thing", "inside": "inside a place"}[self.kind]
        up = ", ".join(f"{value:.2f}" for value in self.frame.up + 0.0)
        share = self.choice.covered / max(self.choice.visible, 1)
        return (
            f"{len(self.train)} virtual views {where} ({self.surrounded:.0%} of the directions "
            f"within have matter), up is ({up}); {share:.1%} of {self.choice.visible:,} visible "
            "Gaussians are seen often enough."
        )


def check_values(gaussians: Gaussians, path: Path, *, force: bool = False) -> None:
    """Refuse splats whose values look like those of another convention.

    There are no photos that could show it, so the ranges of the values have to.

    Args:
        gaussians: Gaussians as read from `path`.
        path: File of the splats.
        force: Whether to take them as they are, with a notice.

    Raises:
        InputError: If they look wrong.
    """
    suspected = suspected_readings(gaussians)
    if not suspected:
        return
    when = " and ".join(reading.words for reading in suspected)
    remedy = " and ".join(reading.remedy for reading in suspected)
    trouble = f"the values of {path} are likely right only when {when}: {remedy}"
    if not force:
        raise InputError(f"{trouble}, or pass {argument('force', True)} to take them as they are.")
    notice(f"{trouble}; taken as they are, as {argument('force', True)} says.")


def make_views(gaussians: Gaussians, config: VirtualConfig, *, size: int) -> VirtualViews:
    """Choose virtual cameras so that every Gaussian that shows is seen well by several.

    Args:
        gaussians: Gaussians in the frame of their file.
        config: Number of views, their kind, and the upright axis.
        size: Sides of the photos, in pixels.

    Raises:
        InputError: If no camera sees anything.
    """
    frame = find_frame(gaussians, config.up)
    local = move_gaussians(gaussians, frame.local_from_source)
    points = local.means.numpy().astype(np.float64)[frame.solid]
    stands = free_positions(points, count=STANDS)
    surrounds, share = False, 0.0
    if config.kind == "auto":  # In a gap between parts of a thing, matter is on all sides, too.
        roomy = free_positions(points, count=STANDS, roomy=True)
        surrounds, share = is_place(local, (roomy if len(roomy) else stands)[:PROBES])
    kind: Kind = "inside" if surrounds or config.kind == "inside" else "around"
    candidates: list[Candidate] = []
    if kind == "inside":
        core = find_core(points)
        cameras = cameras_around_core(frame.up, *core)
        candidates = list(look_from(local, cameras, kind, size=size, core=core))
        cameras = cameras_inside(frame.up, stands, core[0])
        candidates += look_from(local, cameras, kind, size=size)
        if len(candidates) < FEWEST_INSIDE:
            notice("there is too little free space within the splat; cameras stand around it.")
            kind = "around"
    if kind == "around":
        cameras = cameras_around(frame.up, below=not frame.has_floor)
        candidates = list(look_from(local, cameras, kind, size=size))
    if not any(len(candidate.seen) for candidate in candidates):
        raise InputError(
            f"no virtual camera sees anything that is at least half opaque of the {len(gaussians)} "
            "Gaussians; check opacities and scales (expected before sigmoid and as logarithms), or "
            "train with photos."
        )
    choice = choose_views(candidates, len(gaussians), config)
    train, held_out = (
        [candidates[index].camera.resized(size, size) for index in indices]
        for indices in (choice.train, choice.held_out)
    )
    return VirtualViews(frame, kind, share, train, held_out, choice)


def virtual_capture(
    folder: Path,
    source: SourceSplats,
    path: Path,
    config: VirtualConfig,
    *,
    size: int,
    digest: str,
    force: bool = False,
) -> str:
    """Make the capture of a splat alone in a folder, unless the folder already holds it.

    The folder becomes a capture like any other, in the layout of nerfstudio: `transforms.json` with
    poses in the frame of the splat's file, and `images/view_000.png` ... with alpha. Other tools
    can make masks of it.

    Args:
        folder: Folder to write.
        source: Splats read from `path`.
        path: File of the splats.
        config: Number of views, their kind, and the upright axis.
        size: Sides of the photos, in pixels.
        digest: Digest of the file.
        force: Whether to accept values that look like those of another convention.

    Returns:
        What was found and chosen, in one line.

    Raises:
        InputError: If the folder holds something else, the values of the splats look wrong, or no
            camera sees anything.
    """
    asked = {
        "version": VERSION,
        "digest": digest,
        "size": size,
        "settings": msgspec.to_builtins(config),
    }
    known = read_virtual(folder)
    if known is not None and {name: known.get(name) for name in asked} == asked:
        return str(known.get("words", ""))
    if folder.exists() and known is None:
        raise InputError(
            f"{folder} is where the virtual photos of {path} go, and holds something else; move it "
            f"away, or pass another {argument('output')}."
        )
    gaussians = gaussians_of(source.drawn, source.content)
    check_values(gaussians, path, force=force)
    views = make_views(gaussians, config, size=size)
    write_photos(folder, gaussians, views, {**asked, "source": path.name})
    return views.words


def write_photos(folder: Path, gaussians: Gaussians, views: VirtualViews, record: dict) -> None:
    """Render the photos and write the folder of the capture as a whole.

    Args:
        folder: Folder to write; an existing one is replaced.
        gaussians: Gaussians in the frame of their file.
        views: Cameras to render.
        record: What the photos were made from, for `transforms.json`.
    """
    local = move_gaussians(gaussians, views.frame.local_from_source)
    cameras = [*views.train, *views.held_out]
    names = [f"images/view_{index:03d}.png" for index in range(len(views.train))]
    names += [f"images/held_out_{index:03d}.png" for index in range(len(views.held_out))]
    frames = [
        {"file_path": name, "transform_matrix": _pose(camera, views.frame).tolist()}
        for name, camera in zip(names, cameras, strict=True)
    ]
    side, K = cameras[0].width, cameras[0].K
    with replacing_folder(folder) as temporary, ThreadPoolExecutor(1) as pool:
        (temporary / "images").mkdir()
        writing = []
        for name, camera in zip(track(names, "photos", len(names)), cameras, strict=True):
            pixels = _photo(local, camera)  # Encoding goes on while the next one is rendered.
            writing.append(pool.submit(_save, pixels, temporary / name))
        for job in writing:
            job.result()
        lens = {"fl_x": K[0, 0], "fl_y": K[1, 1], "cx": K[0, 2], "cy": K[1, 2]}
        write_json(
            temporary / "transforms.json",
            {
                "camera_model": "PINHOLE",
                **{name: float(value) for name, value in lens.items()},
                "w": side,
                "h": side,
                VIRTUAL: {**record, "kind": views.kind, "words": views.words},
                "train_filenames": names[: len(views.train)],
                "val_filenames": names[len(views.train) :],
                "frames": frames,
            },
        )


def _pose(camera: Camera, frame: SplatFrame) -> Float[np.ndarray, "4 4"]:
    """Pose in the frame of the splat's file, with OpenGL axes."""
    pose = camera.world_from_cam.copy()
    pose[:3, 3] = frame.centre + frame.radius * pose[:3, 3]
    return pose @ OPENCV_FROM_OPENGL


def _photo(gaussians: Gaussians, camera: Camera) -> UInt8[np.ndarray, "H W 4"]:
    """Colours with straight alpha, rendered as the Gaussians were fitted."""
    colours, alpha = np.split(render_fitted(gaussians, camera), [3], axis=2)
    colours = colours / np.maximum(alpha, 1e-6)
    pixels = np.concatenate([np.where(alpha > 0, colours, 0), alpha], axis=2)
    return np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)


def _save(pixels: UInt8[np.ndarray, "H W 4"], path: Path) -> None:
    Image.fromarray(pixels).save(path, compress_level=1)
