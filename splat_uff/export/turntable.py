"""Film that circles the scene while its segments split, from coarse to fine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio.v2 as imageio
import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from splat_uff.capture.images import to_bytes
from splat_uff.export.camera_path import turntable_cameras
from splat_uff.geometry.cameras import Camera
from splat_uff.render.compositing import blend_over_white
from splat_uff.run.open import Run
from splat_uff.system.errors import InputError
from splat_uff.system.portable import patiently
from splat_uff.system.progress import track

GIF_COLOURS = 128
FASTEST_GIF = 2
"""Minimum duration of a GIF's frame, in 1/100 s; viewers slow down faster ones."""


@dataclass(frozen=True)
class Film:
    """Settings of a film.

    Raises:
        InputError: If a number is out of range.
    """

    frames: int = 120
    """Number of frames, at least 2."""
    size: int = 400
    """Width and height, in pixels, 64 to 2048."""
    frames_per_second: int = 24
    """Frame rate, 1 to 60."""
    fewest: int = 2
    """Number of segments in the first frame, at least 1."""
    most: int = 200
    """Number of segments in the last frame; all segments of the tree if it has fewer."""
    photo: float = 0.35
    """Share of the photographic colours, 0 to 1; segment colours make up the rest."""

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise InputError(f"frames is {self.frames}; expected at least 2.")
        if not 64 <= self.size <= 2048:
            raise InputError(f"size is {self.size}; expected 64 to 2048 pixels.")
        if not 1 <= self.frames_per_second <= 60:
            raise InputError(f"frames_per_second is {self.frames_per_second}; expected 1 to 60.")
        if not 1 <= self.fewest <= self.most:
            raise InputError(
                f"fewest is {self.fewest} and most {self.most}; expected at least 1 segment, and "
                "most no less than fewest."
            )
        if not 0 <= self.photo <= 1:
            raise InputError(f"photo is {self.photo}; expected a share, 0 to 1.")


DEFAULT = Film()


def write_turntable(run: Run, output: Path, film: Film = DEFAULT) -> Path:
    """Write a film along `turntable_cameras` in which the segments split from frame to frame.

    A segment that splits keeps its colour in its largest part. The number of segments grows
    geometrically. An existing file at `output` is replaced once the film is complete.

    Args:
        run: Run to film.
        output: File to write. Its ending chooses the format: `.mp4` (H.264, which requires even
            sizes, so an odd one grows by a pixel) or `.gif` (loops for ever, at most 50 frames per
            second).
        film: Settings of the film.

    Returns:
        Path of the film, `output`.

    Raises:
        InputError: If the ending is another one, imageio-ffmpeg is missing, or the capture has
            moved.
    """
    write = _writer(output)
    size = film.size + film.size % 2 if write is _write_mp4 else film.size
    path = turntable_cameras([view.camera for view in run.capture.train], film.frames, size)
    most = min(film.most, run.hierarchy.tree.most_segments)
    counts = np.geomspace(min(film.fewest, most), most, film.frames).round().astype(int)
    images = track(_draw(run, path, counts, film.photo), "turntable", film.frames)
    output.parent.mkdir(parents=True, exist_ok=True)
    # Use a folder of its own: ffmpeg creates its file even if interrupted before the first frame.
    with TemporaryDirectory(
        prefix=f".{output.stem}-", dir=output.parent, ignore_cleanup_errors=True
    ) as place:
        temporary = Path(place) / output.name
        write(temporary, images, film.frames_per_second)
        patiently(lambda: temporary.replace(output))
    return output


def _draw(
    run: Run, path: Sequence[Camera], counts: Int[np.ndarray, "F"], photo: float
) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    """Yield the frames, one at a time."""
    colours = run.walk.colours
    for camera, number in zip(path, counts.tolist(), strict=True):
        segments = blend_over_white(colours[run.nodes(number)], run.gaussians, camera)
        yield to_bytes(photo * run.render(camera) + (1 - photo) * segments)


def _writer(output: Path) -> Callable[[Path, Iterable[np.ndarray], int], None]:
    ending = output.suffix.lower()
    if ending not in (".mp4", ".gif"):
        raise InputError(
            f"{output} ends in {output.suffix or 'nothing'}; expected a name that ends in "
            ".mp4 or .gif."
        )
    if output.is_dir():
        raise InputError(f"{output} is a folder; pass the name of a file.")
    if ending == ".gif":
        return _write_gif
    try:
        import imageio_ffmpeg  # Only films need it.

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError):
        raise InputError(
            f"{output.name} needs imageio-ffmpeg, which is not there; pip install imageio-ffmpeg, "
            "or write a .gif."
        ) from None
    return _write_mp4


def _write_mp4(path: Path, images: Iterable[np.ndarray], frames_per_second: int) -> None:
    with imageio.get_writer(
        path,
        format="FFMPEG",  # pyright: ignore[reportArgumentType]
        mode="I",
        fps=frames_per_second,
        codec="libx264",
        pixelformat="yuv420p",  # Every browser and player supports it.
        quality=8,
        macro_block_size=2,
        ffmpeg_log_level="fatal",  # If interrupted, it would report the removed file as missing.
        output_params=["-movflags", "+faststart"],  # Plays before it is fully loaded.
    ) as film:
        for image in images:
            film.append_data(image)  # pyright: ignore[reportAttributeAccessIssue]


def _write_gif(path: Path, images: Iterable[np.ndarray], frames_per_second: int) -> None:
    pictures = [Image.fromarray(image).quantize(GIF_COLOURS) for image in images]
    # Frames last whole hundredths of a second; rounding their ends keeps the average rate.
    ends = np.round(100 * np.arange(len(pictures) + 1) / frames_per_second).astype(int)
    lasting = np.maximum(np.diff(ends), FASTEST_GIF)
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=(10 * lasting).tolist(),
        loop=0,
    )
