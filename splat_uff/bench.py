"""Timings of all stages on fixed synthetic inputs, to compare machines and commits."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from splat_uff import __version__
from splat_uff.capture.records import Capture, GroundTruth, SparsePoints, View
from splat_uff.capture.rotated import ANGLES
from splat_uff.evaluate.consistency import Warp, view_consistency
from splat_uff.evaluate.covering import normalized_covering, segmentation_injectivity
from splat_uff.features.blend import BlendRows, blend_pixels
from splat_uff.features.config import FeaturesConfig
from splat_uff.features.fit import fit_features
from splat_uff.features.linkage import average_linkage
from splat_uff.features.ultrametric import average_linkage_similarity, spanning_tree_similarity
from splat_uff.gaussians.borders import BorderCleaner
from splat_uff.gaussians.config import BordersConfig, GaussiansConfig
from splat_uff.gaussians.fit import fit_gaussians
from splat_uff.gaussians.ssim import mean_ssim
from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.build import build_hierarchy
from splat_uff.hierarchy.config import HierarchyConfig
from splat_uff.hierarchy.dendrogram import cut_into
from splat_uff.hierarchy.labels import blended_votes, label_maps
from splat_uff.masks.bags import Bags
from splat_uff.masks.records import MaskSet
from splat_uff.render import Gaussians, blend_weights, rasterization
from splat_uff.render.frozen import FrozenViews
from splat_uff.settings import TrainConfig
from splat_uff.system.errors import InputError, argument, reason_of
from splat_uff.system.files import write_json
from splat_uff.system.machine import describe_device, measured_here
from splat_uff.system.progress import silenced
from splat_uff.training.frozen import FrozenScene, refit, tree_for_features

COUNT = 30_000
"""Number of Gaussians in most of the inputs."""
STEPS = 20
"""Optimiser steps of a fit."""
VIEWS = 20
LARGE = 1600, 1067
"""Width and height of a photo that the fit sees by windows."""
BLOCKS = 4
REPEATS, SECONDS = 11, 10.0
"""Maximum repeats of a call, and the seconds after which no further repeat starts."""
TOLERANCE = 1.3
"""Ratio to a baseline above which a time is flagged; medians vary by 15 to 30 %."""
Call = Callable[[], object]


def run_bench(
    *,
    only: str = "",
    device: str = "cpu",
    compare: dict[str, float] | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> dict[str, float]:
    """Time everything whose name contains `only`.

    Args:
        only: Text that a name must contain; an empty one times everything.
        device: Device that computes: `cpu` or `cuda`. On `cuda`, only what runs there is timed.
        compare: Baseline times by name, in milliseconds; ratios to them are reported.
        say: Called with one line per time, as soon as it is measured.

    Returns:
        Median milliseconds by name.

    Raises:
        InputError: If no name contains `only`.
    """
    times, baseline = {}, compare or {}
    for name, prepare in cases(device).items():
        if only in name:
            with silenced():
                call, per_call = prepare()
                times[name] = round(median_ms(_finished(call, device)) / per_call, 3)
            say(f"{name:<48} {times[name]:10.2f} ms {_ratio(times[name], baseline.get(name))}")
    if not times:
        raise InputError(
            f"nothing to time has {only!r} in its name; leave {argument('only')} out to see all."
        )
    return times


def write_times(path: Path, times: dict[str, float], *, device: str = "cpu") -> None:
    """Write times as JSON, with the machine, device and version they were measured on."""
    record = {
        **measured_here(),
        "device": describe_device(device),
        "version": __version__,
        "tolerance": TOLERANCE,
        "ms": times,
    }
    write_json(path, record)


def read_times(path: Path) -> dict[str, float]:
    """Read times that `write_times` wrote.

    Raises:
        InputError: If the file is missing or holds no times.
    """
    try:
        times = json.loads(path.read_text(encoding="utf-8-sig"))["ms"]
        return {str(name): float(ms) for name, ms in times.items()}
    except OSError as error:
        raise InputError(
            f"cannot read {path} ({reason_of(error)}); pass a file of times."
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(
            f"{path} holds no times; make one with splat-uff bench --output."
        ) from None


def cases(device: str = "cpu") -> dict[str, Callable[[], tuple[Call, int]]]:
    """Benchmarks by name; each prepares a call and returns it with the operations it performs.

    Args:
        device: Device that computes. Without `cpu`, what always runs on the CPU is left out.
    """
    found: dict[str, Callable[[], tuple[Call, int]]] = {}
    for size, channels in ((200, 3), (200, 16), (400, 3), (400, 16), (400, 128)):
        name = f"{size}x{size}, {channels} channels"
        found[f"rasterize {name}, forward"] = lambda s=size, c=channels: _forward(s, c, device)
        found[f"rasterize {name}, and backward"] = lambda s=size, c=channels: _backward(
            s, c, device=device
        )
    found["rasterize 200x200, degree 3 harmonics, and backward"] = lambda: _backward(
        200, 3, 3, device=device
    )
    for size in (200, 400):
        found[f"blend weights {size}x{size}"] = lambda s=size: _blend_weights(s, device)
    found["labels 200x200, 60 cuts"] = lambda: _labels(device)
    found["blend 4096 pixels, 32 channels, and backward"] = lambda: _blend_pixels(device)
    found["SSIM 200x200, and backward"] = lambda: _ssim(device)
    for width, height in ((400, 400), LARGE):
        by_windows = " by windows" if (width, height) == LARGE else ""
        found[f"fit step, photo of {width}x{height}{by_windows}"] = lambda w=width, h=height: (
            _fit_step(w, h, device)
        )
    found[f"clean borders, {VIEWS} photos, {STEPS} steps"] = lambda: _borders(device)
    found["feature step, 4096 pixels"] = lambda: _feature_step(device)
    found[f"tree by consensus of {VIEWS} photos"] = lambda: _consensus(device)
    if device == "cpu":
        found |= _on_cpu()
    return found


def _on_cpu() -> dict[str, Callable[[], tuple[Call, int]]]:
    """Benchmarks of what runs on the CPU, whatever the device."""
    found: dict[str, Callable[[], tuple[Call, int]]] = {}
    found["ultrametric, spanning tree, 1024 pixels"] = _spanning_tree
    found["ultrametric, average linkage, 1024 pixels"] = _average_linkage
    found["average linkage of 2000 superpoints"] = _superpoints
    for count, name in ((10_000, "10k"), (100_000, "100k"), (1_000_000, "1M")):
        found[f"tree over {name} Gaussians"] = lambda n=count: _tree(n)
    found[f"tree over 100k Gaussians in {BLOCKS} blocks"] = lambda: _tree(100_000, BLOCKS)
    found["cut a tree over 100k into 100 segments"] = _cut
    found["NC, SI, VC at 4 angles: 20 views, 60 cuts"] = _metrics
    return found


def random_inputs(
    size: int, channels: int, *, count: int | None = None, degree: int | None = None
) -> dict[str, Any]:
    """Random inputs for `rasterization`: Gaussians of 1 to 3 pixels all over a square image.

    Args:
        size: Side of the image, in pixels.
        channels: Number of channels, used if no degree is given.
        count: Number of Gaussians, `COUNT` unless given.
        degree: Degree of spherical harmonics, in place of channels.
    """
    count = COUNT if count is None else count
    rng = torch.Generator().manual_seed(0)
    pixels = torch.rand(count, 2, generator=rng) * size
    depth = 2 + 4 * torch.rand(count, 1, generator=rng)
    shape = (count, channels) if degree is None else (count, (degree + 1) ** 2, 3)
    return {
        "means": torch.cat([(pixels - size / 2) * depth / size, depth], dim=1),
        "scales": (1 + 2 * torch.rand(count, 3, generator=rng)) * depth / size,
        "quats": torch.randn(count, 4, generator=rng),
        "opacities": 0.1 + 0.8 * torch.rand(count, generator=rng),
        "colors": torch.rand(*shape, generator=rng),
        "viewmats": torch.eye(4)[None],
        "Ks": torch.tensor([[[size, 0, size / 2], [0, size, size / 2], [0, 0, 1.0]]]),
    }


def median_ms(call: Call, *, repeats: int = REPEATS, seconds: float = SECONDS) -> float:
    """Median milliseconds of a call; the first, which may compile, counts only if it is alone."""
    times: list[float] = []
    while len(times) <= repeats and sum(times) < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times[1:] or times)) * 1000


def time_in_turns(calls: dict[str, Call], *, rounds: int = 21) -> dict[str, float]:
    """Median milliseconds of several calls, interleaved so that all see the same conditions."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 2):  # Two rounds warm up and compile.
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return {name: round(float(np.median(own[2:])) * 1000, 3) for name, own in times.items()}


def _finished(call: Call, device: str) -> Call:
    """The call, and the wait until the device has done what it queued."""
    if device == "cpu":
        return call

    def whole() -> None:
        call()
        torch.cuda.synchronize()

    return whole


def _ratio(ms: float, baseline: float | None) -> str:
    if not baseline:
        return ""
    ratio = ms / baseline
    note = "slower" if ratio > TOLERANCE else "faster" if ratio < 1 / TOLERANCE else ""
    return f"{ratio:6.2f} x baseline  {note}".rstrip()


def _moved(tensors: dict[str, Any], device: str) -> dict[str, Any]:
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _forward(size: int, channels: int, device: str) -> tuple[Call, int]:
    tensors = _moved(random_inputs(size, channels), device)
    return lambda: rasterization(**tensors, width=size, height=size), 1


def _backward(
    size: int, channels: int, degree: int | None = None, *, device: str
) -> tuple[Call, int]:
    tensors = _moved(random_inputs(size, channels, degree=degree), device)
    leaves = {n: t.requires_grad_(n not in ("viewmats", "Ks")) for n, t in tensors.items()}
    settings: dict[str, Any] = {"width": size, "height": size, "sh_degree": degree}

    def call() -> None:
        image, alphas, _ = rasterization(**leaves, **settings)
        (image.sum() + alphas.sum()).backward()

    return call, 1


def _scene(size: int) -> tuple[Gaussians, Camera]:
    """Inputs of the rasterizer, as records."""
    t = random_inputs(size, 3)
    sh0, none = torch.zeros(COUNT, 1, 3), torch.zeros(COUNT, 0, 3)
    opacities = t["opacities"].logit()
    gaussians = Gaussians(t["means"], t["quats"], t["scales"].log(), opacities, sh0, none)
    return gaussians, Camera(np.eye(4), t["Ks"][0].double().numpy(), size, size)


def _blend_weights(size: int, device: str) -> tuple[Call, int]:
    gaussians, camera = _scene(size)
    moved = gaussians.to(device)
    return lambda: blend_weights(moved, camera), 1


def _labels(device: str) -> tuple[Call, int]:
    """Label maps of a view for 60 labellings, finer and finer, of random Gaussians."""
    gaussians, camera = _scene(200)
    votes = blended_votes(gaussians.to(device), camera)
    counts = np.linspace(2, 200, 60).round().astype(int)
    labels = 1 + np.arange(COUNT) * counts[:, None] // COUNT
    return lambda: label_maps(votes, labels), 1


def _blend_pixels(device: str) -> tuple[Call, int]:
    gaussians, camera = _scene(200)
    blends = BlendRows.of(FrozenViews(gaussians, [camera]))
    features = torch.rand(COUNT, 32).to(device).requires_grad_()
    rows = np.sort(np.random.default_rng(0).choice(200 * 200, 4096, replace=False))
    return lambda: blend_pixels(features, blends, rows).sum().backward(), 1


def _ssim(device: str) -> tuple[Call, int]:
    photo = torch.rand(200, 200, 3, generator=torch.Generator().manual_seed(0))
    photo = photo.to(device).requires_grad_()
    return lambda: mean_ssim(photo, photo.detach() * 0.9).backward(), 1


def _fit_step(width: int, height: int, device: str) -> tuple[Call, int]:
    """Steps of the fit to two photos of random colours, with a constant number of Gaussians."""
    inputs, rng = random_inputs(width, 3), np.random.default_rng(0)
    distance = 4.0  # To the middle of the Gaussians, which becomes the origin.
    K, pose = inputs["Ks"][0].double().numpy(), np.eye(4)
    pose[2, 3] = -distance
    camera = Camera(pose, K, width, height)
    photos = rng.random((2, height, width, 4), np.float32)
    photos[..., 3] = 1
    views = tuple(View(f"r_{number}", camera, photo) for number, photo in enumerate(photos))
    positions = inputs["means"].double().numpy() - (0, 0, distance)
    points = SparsePoints(positions, rng.random((COUNT, 3)))
    capture = Capture("bench", Path(), views, (), False, np.eye(4), "simulated", points=points)
    config = GaussiansConfig(steps=STEPS, start=COUNT, most=COUNT)
    return lambda: fit_gaussians(capture, config, seed=0, device=device), STEPS


def _borders(device: str) -> tuple[Call, int]:
    """A round of clean borders between slabs of Gaussians, whose borders the masks show."""
    gaussians, capture, bags = _masked_photos(VIEWS)
    means = gaussians.means.numpy()
    labels = 1 + np.digitize(means[:, 0] / means[:, 2], np.linspace(-0.4, 0.4, 7))
    cleaner = BorderCleaner(BordersConfig(rounds=1, steps=STEPS), GaussiansConfig(), 0, device)
    return lambda: cleaner.clean(gaussians, capture.train, bags, labels), 1


def _feature_step(device: str) -> tuple[Call, int]:
    """Feature steps with the default losses; the scene's tree is built beforehand."""
    settings = TrainConfig(features=FeaturesConfig(steps=STEPS))
    scene = _masked(1, device)
    tree = tree_for_features(scene, settings)

    def call() -> None:
        fit_features(scene.views, scene.bags, settings.features, seed=0, tree=tree, device=device)

    return call, STEPS


def _consensus(device: str) -> tuple[Call, int]:
    """Everything `train` does from frozen Gaussians to a tree when features are not trained."""
    settings, scene = TrainConfig(features=FeaturesConfig(steps=0)), _masked(VIEWS, device)
    return lambda: refit(scene, settings), 1


def _masked(count: int, device: str) -> FrozenScene:
    return FrozenScene(*_masked_photos(count), device=device)


def _masked_photos(count: int) -> tuple[Gaussians, Capture, Bags]:
    """Identical photos, each masked by nested squares with sides of 200 to 25 pixels."""
    gaussians, camera = _scene(200)
    masks = MaskSet.of(np.stack(list(_squares(200, 25))))
    image = np.ones((200, 200, 4), np.float32)
    views = tuple(View(f"r_{number}", camera, image) for number in range(count))
    capture = Capture("bench", Path(), views, (), True, np.eye(4), "simulated")
    return gaussians, capture, Bags.of(views, lambda view: masks)


def _squares(size: int, least: int) -> Iterator[np.ndarray]:
    side = size
    while side >= least:
        for top in range(0, size, side):
            for left in range(0, size, side):
                mask = np.zeros((size, size), dtype=bool)
                mask[top : top + side, left : left + side] = True
                yield mask
        side //= 2


def _unit_vectors(count: int) -> np.ndarray:
    vectors = np.random.default_rng(0).standard_normal((count, 32)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _spanning_tree() -> tuple[Call, int]:
    rng, features = np.random.default_rng(1), torch.from_numpy(_unit_vectors(1024))
    directions, members = rng.standard_normal((1024, 3)), rng.random((40, 1024)) < 0.2
    pairs = rng.integers(0, 1024, (16_384, 2))
    return lambda: spanning_tree_similarity(features, directions, members, pairs), 1


def _average_linkage() -> tuple[Call, int]:
    features = torch.from_numpy(_unit_vectors(1024))
    pairs = np.random.default_rng(1).integers(0, 1024, (16_384, 2))
    return lambda: average_linkage_similarity(features, pairs), 1


def _superpoints() -> tuple[Call, int]:
    vectors = _unit_vectors(2000)
    return lambda: average_linkage(vectors), 1


def _points(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in a cube, with waves through it as features and equal weights."""
    points = np.random.default_rng(0).random((count, 3))
    waves = [np.sin(5 * (k + 1) * points[:, k % 3]) for k in range(32)]
    return points, np.stack(waves, axis=1).astype(np.float32), np.ones(count, np.float32)


def _tree(count: int, blocks: int = 1) -> tuple[Call, int]:
    given = _points(count)
    config = HierarchyConfig(linkage="average", blocks=blocks)
    return lambda: build_hierarchy(*given, config), 1


def _metrics() -> tuple[Call, int]:
    """Score nested label maps of 200x200 against nested truth, with a rotation of zero degrees."""
    rng, size = np.random.default_rng(0), 200
    rows, columns = np.divmod(np.arange(size * size), size)

    def squares(side: int) -> np.ndarray:
        return (rows // side * (size // side + 1) + columns // side).reshape(size, size)

    sides = np.linspace(14, 200, 60).round().astype(int)
    maps = np.stack([[squares(side) + 1 for side in sides.tolist()]] * VIEWS)
    truths = [GroundTruth(squares(20) + 1, squares(50) + 1)] * VIEWS
    pixels = np.arange(size * size)
    warps = [Warp(pixels, rng.random(size * size) < 0.7, rng.random(size * size) < 0.7)] * VIEWS

    def call() -> None:
        for metric in (normalized_covering, segmentation_injectivity):
            metric(maps, truths, rng=np.random.default_rng(0))
        for _ in ANGLES:
            view_consistency(maps, maps, truths, warps, rng=np.random.default_rng(0))

    return call, 1


def _cut() -> tuple[Call, int]:
    tree = build_hierarchy(*_points(100_000), HierarchyConfig(linkage="average")).tree
    return lambda: cut_into(tree, 100), 1
