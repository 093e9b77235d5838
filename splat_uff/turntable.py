"""A film that goes round the scene while its segments split, from coarse to fine."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import imageio.v2 as imageio
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image

from splat_uff.cameras import Camera
from splat_uff.errors import InputError
from splat_uff.orbit import turntable_cameras
from splat_uff.progress import track
from splat_uff.render import Gaussians, rasterize
from splat_uff.run.open import Run

GIF_COLOURS = 128
FASTEST_GIF = 2
"""Hundredths of a second of a GIF's frame at least; viewers slow down whatever is faster."""


def write_turntable(
    run: Run,
    output: Path,
    *,
    frames: int = 120,
    size: int = 400,
    frames_per_second: int = 24,
    fewest: int = 2,
    most: int = 200,
    photo: float = 0.35,
) -> Path:
    """Write a film along `turntable_cameras` in which the segments split from frame to frame.

    A segment that splits keeps its colour in its largest part. The numbers of segments grow
    geometrically. What stands at `output` is replaced once the film is whole.

    Args:
        run: The run.
        output: File to write. Its ending chooses: `.mp4` (H.264, which takes even sizes only, so
            an odd one gets a pixel more) or `.gif` (loops for ever, 50 frames a second at most).
        frames: How many, at least 2.
        size: Pixels of each side, 64 to 2048.
        frames_per_second: 1 to 60.
        fewest: Segments of the first frame, at least 1.
        most: Segments of the last frame; as many as the tree has where that is less.
        photo: Share of the photographic colours, 0 to 1; the rest are colours of segments.

    Returns:
        `output`.

    Raises:
        InputError: If an argument is out of range, the ending is another one, imageio-ffmpeg is
            missing, or the capture is not where it was.
    """
    write = _writer(output)
    _check(frames, size, frames_per_second, fewest, most, photo)
    if write is _write_mp4:
        size += size % 2
    path = turntable_cameras([view.camera for view in run.capture.train], frames, size)
    most = min(most, run.hierarchy.tree.most_segments)
    counts = np.geomspace(min(fewest, most), most, frames).round().astype(int)
    images = track(_draw(run, path, counts, photo), "turntable", frames)
    output.parent.mkdir(parents=True, exist_ok=True)
    # In a folder of its own: ffmpeg, cut off before it has begun, would still make its file.
    with TemporaryDirectory(
        prefix=f".{output.stem}-", dir=output.parent, ignore_cleanup_errors=True
    ) as place:
        temporary = Path(place) / output.name
        write(temporary, images, frames_per_second)
        temporary.replace(output)
    return output


def _draw(
    run: Run, path: Sequence[Camera], counts: Int[np.ndarray, "F"], photo: float
) -> Iterator[UInt8[np.ndarray, "_ _ 3"]]:
    """The frames, one at a time."""
    colours = run.walk.colours
    for camera, number in zip(path, counts.tolist(), strict=True):
        segments = _blend_over_white(run.gaussians, camera, colours[run.nodes(number)])
        mixed = photo * run.render(camera) + (1 - photo) * segments
        yield (255 * mixed).round().astype(np.uint8)


def _blend_over_white(
    gaussians: Gaussians, camera: Camera, colours: Float[np.ndarray, "N 3"]
) -> Float[np.ndarray, "_ _ 3"]:
    # Of one colouring a view, this takes a quarter of the time that its blend weights take, and
    # none of their memory: up to 2 GB at 2048 pixels a side.
    with torch.no_grad():
        render = rasterize(gaussians, camera, gaussians.means.new_tensor(colours))
        image = render.values + (1 - render.alpha[..., None])
    return image.clamp(0, 1).cpu().numpy()


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
        pixelformat="yuv420p",  # The one that every browser and player knows.
        quality=8,
        macro_block_size=2,
        ffmpeg_log_level="fatal",  # Cut off, it would complain of the file that was cleared away.
        output_params=["-movflags", "+faststart"],  # Plays before it is loaded to the end.
    ) as film:
        for image in images:
            film.append_data(image)  # pyright: ignore[reportAttributeAccessIssue]


def _write_gif(path: Path, images: Iterable[np.ndarray], frames_per_second: int) -> None:
    pictures = [Image.fromarray(image).quantize(GIF_COLOURS) for image in images]
    # Frames last whole hundredths of a second; rounding their ends keeps the pace.
    ends = np.round(100 * np.arange(len(pictures) + 1) / frames_per_second).astype(int)
    lasting = np.maximum(np.diff(ends), FASTEST_GIF)
    pictures[0].save(
        path,
        save_all=True,
        append_images=pictures[1:],
        duration=(10 * lasting).tolist(),
        loop=0,
    )


def _check(
    frames: int, size: int, frames_per_second: int, fewest: int, most: int, photo: float
) -> None:
    if frames < 2:
        raise InputError(f"frames is {frames}; expected at least 2.")
    if not 64 <= size <= 2048:
        raise InputError(f"size is {size}; expected 64 to 2048 pixels.")
    if not 1 <= frames_per_second <= 60:
        raise InputError(f"frames_per_second is {frames_per_second}; expected 1 to 60.")
    if not 1 <= fewest <= most:
        raise InputError(
            f"fewest is {fewest} and most {most}; expected at least 1 segment, and most no less "
            "than fewest."
        )
    if not 0 <= photo <= 1:
        raise InputError(f"photo is {photo}; expected a share, 0 to 1.")
