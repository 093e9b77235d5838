"""The worst views of a capture by their masks, and what is wrong with them in words."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from jaxtyping import Float

from splat_uff.masks.judge import MaskFigures

WORST = 10
"""Number of views that are named as the worst."""
STANDING_OUT = 3.0
"""Robust standard deviations by which a figure must be worse than usual to be a reason."""

USUAL, USUAL_WIDTH = 0.2, 0.8416
"""Share of views from which the same trouble is usual, as where only some photos have a mask of the
background; and the standard deviations beyond which a normal distribution has this share."""


@dataclass(frozen=True)
class _Symptom:
    name: str
    """Figure that tells."""
    worse: int
    """Sign of a change for the worse."""
    spread: float
    """Least robust standard deviation, lest a figure that hardly varies seem to stand out."""
    words: str
    """Description of what is wrong, with the figure's value and its usual value."""


SYMPTOMS = (
    _Symptom("found", -1, 0.02, "its neighbours lack its masks (IoU {0:.2f}, usually {1:.2f})"),
    _Symptom("kept", -1, 0.02, "it lacks masks of its neighbours (IoU {0:.2f}, usually {1:.2f})"),
    _Symptom("coverage", -1, 0.02, "masks cover {0:.0%} of the scene, usually {1:.0%}"),
    _Symptom("outside", 1, 0.02, "{0:.0%} of masked pixels are outside the scene, usually {1:.0%}"),
    _Symptom("crossing", 1, 0.03, "{0:.0%} of overlapping masks cross, usually {1:.0%}"),
    _Symptom("overlap", -1, 0.3, "{0:.1f} masks on a covered pixel, usually {1:.1f}"),
    _Symptom("masks", -1, 0.3, "few masks: {0:.0f}, usually {1:.0f}"),
    _Symptom("masks", 1, 0.3, "many masks: {0:.0f}, usually {1:.0f}"),
)  # fmt: skip
"""Symptoms; numbers of masks are compared by their logarithm to base 2."""
AGREEMENT = _Symptom("agreement", -1, 0.02, "")
"""Symptom that ranks views, too, but of which the first two tell more."""


@dataclass(frozen=True)
class BadView:
    """One of the worst views."""

    view: str
    """Name of the view."""
    agreement: float | None
    """Agreement with its neighbours; None without Gaussians."""
    reasons: tuple[str, ...]
    """What is wrong with its masks, the worst first; empty if nothing stands out."""


@dataclass(frozen=True)
class MaskJudgement:
    """Figures of the masks of every view, and the worst views, the worst first."""

    views: tuple[MaskFigures, ...]
    worst: tuple[BadView, ...]

    @property
    def means(self) -> dict[str, float]:
        """Mean of every known figure over the views, and of `agreement`."""
        names = [each.name for each in fields(MaskFigures)][1:]
        values = {name: _values(self.views, name) for name in (*names, "agreement")}
        known = {name: each[~np.isnan(each)] for name, each in values.items()}
        return {name: float(each.mean()) for name, each in known.items() if len(each)}

    def record(self) -> dict[str, Any]:
        """Content for JSON: `means` by figure, `views` with all figures, and `worst`."""
        return {
            "means": self.means,
            "views": [each.record() for each in self.views],
            "worst": [{**asdict(each), "reasons": list(each.reasons)} for each in self.worst],
        }


def judgement_of(figures: Sequence[MaskFigures], *, count: int = WORST) -> MaskJudgement:
    """Choose the worst views and say what is wrong with them.

    Each figure is compared with its median over all views, in robust standard deviations: 1.4826
    times the median absolute deviation, or more where a fifth of the views are worse than that
    explains. Views without masks are the worst; the rest are ranked by the figure that stands out
    most, which may be their agreement with their neighbours.

    Args:
        figures: Figures of every view.
        count: Most views to name.
    """
    if not figures:
        return MaskJudgement((), ())
    badness = np.stack([_badness(each, figures) for each in SYMPTOMS])
    rank = np.maximum(badness.max(axis=0), _badness(AGREEMENT, figures))
    rank = np.where(_values(figures, "masks") == 0, np.inf, rank)
    worst = []
    for view in np.argsort(-rank, kind="stable")[:count]:
        reasons = _reasons(int(view), figures, badness[:, view])
        worst.append(BadView(figures[view].view, figures[view].agreement, reasons))
    return MaskJudgement(tuple(figures), tuple(worst))


def _reasons(
    view: int, figures: Sequence[MaskFigures], badness: Float[np.ndarray, "S"]
) -> tuple[str, ...]:
    if figures[view].masks == 0:
        return ("no masks of the scene",)
    reasons = []
    for place in np.argsort(-badness, kind="stable"):
        if badness[place] >= STANDING_OUT:
            symptom = SYMPTOMS[place]
            values = _values(figures, symptom.name)
            reasons.append(symptom.words.format(values[view], np.nanmedian(values)))
    return tuple(reasons)


def _badness(symptom: _Symptom, figures: Sequence[MaskFigures]) -> Float[np.ndarray, "V"]:
    """Robust standard deviations by which each view is worse than usual; 0 if unknown."""
    values = _values(figures, symptom.name)
    if symptom.name == "masks":
        values = np.log2(1 + values)
    if np.isnan(values).all():
        return np.zeros(len(values))
    apart = symptom.worse * (values - np.nanmedian(values))
    spreads = 1.4826 * np.nanmedian(np.abs(apart)), np.nanquantile(apart, 1 - USUAL) / USUAL_WIDTH
    return np.nan_to_num(apart / max(*spreads, symptom.spread))


def _values(figures: Sequence[MaskFigures], name: str) -> Float[np.ndarray, "V"]:
    values = [getattr(each, name) for each in figures]
    return np.array([np.nan if value is None else value for value in values], np.float64)
