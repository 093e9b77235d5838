"""SAM with point prompts: the model is prompted with each click, and its best mask counts."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from splat_uff.capture import View
from splat_uff.capture.images import to_bytes
from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.levels import LevelScores, check_sizes, collect, mean_row, true_levels
from splat_uff.render.compositing import WHITE
from splat_uff.system.progress import track

BATCH = 64
"""Number of prompts that the decoder processes at a time."""


def prompt_points(
    predictor: Any, points: Int[np.ndarray, "C 2"], *, batch: int = BATCH
) -> Bool[np.ndarray, "C 3 H W"]:
    """Predict SAM's three masks for each point of the predictor's image.

    Args:
        predictor: A `segment_anything.SamPredictor` whose image is set.
        points: Column and row of each point, in pixels of that image.
        batch: Number of points that are processed at a time.
    """
    found = []
    for start in range(0, len(points), batch):
        some = points[start : start + batch] + 0.5
        coordinates = predictor.transform.apply_coords(some, predictor.original_size)
        masks, _, _ = predictor.predict_torch(
            torch.as_tensor(coordinates, dtype=torch.float, device=predictor.device)[:, None],
            torch.ones((len(some), 1), dtype=torch.int, device=predictor.device),
            multimask_output=True,
        )
        found.append(masks.cpu().numpy())
    return np.concatenate(found)


def prompted_covering(
    sam: Any,
    views: Sequence[View],
    truths: Sequence[GroundTruth],
    *,
    rng: np.random.Generator,
    num_clicks: int = 100,
) -> LevelScores:
    """NC of SAM when prompted with the clicks themselves; the best of its three masks counts.

    Args:
        sam: Model, as loaded by `load_sam`.
        views: Held-out views, at the size of their truth; composited over white.
        truths: Ground truth of the same views.
        rng: Generator that draws the clicks.
        num_clicks: Number of clicks per true segment.

    Raises:
        InputError: If sizes differ, or a level has no segment in any view.
    """
    from segment_anything import SamPredictor

    check_sizes(len(views), [view.image.shape[:2] for view in views], truths)
    predictor = SamPredictor(sam)
    per_view = []
    for view, truth in zip(track(views, "prompts", len(views)), truths, strict=True):
        predictor.set_image(to_bytes(view.composite(WHITE)))
        width = view.image.shape[1]
        rows = []
        for level in true_levels(truth):
            scores = []
            for pixels in level.scored:
                inside = np.zeros(len(level.segments), bool)
                inside[pixels] = True
                clicks, repeats = np.unique(rng.choice(pixels, num_clicks), return_counts=True)
                points = np.stack([clicks % width, clicks // width], axis=1)
                best = _ious(prompt_points(predictor, points), inside).max(axis=1)
                scores.append(float(np.average(best, weights=repeats)))
            rows.append(scores)
        per_view.append(mean_row(rows))
    return collect(per_view)


def _ious(
    masks: Bool[np.ndarray, "C K H W"], inside: Bool[np.ndarray, "P"]
) -> Float[np.ndarray, "C K"]:
    flat = masks.reshape(*masks.shape[:2], -1)
    joint = (flat & inside).sum(axis=2)
    return joint / np.maximum((flat | inside).sum(axis=2), 1)
