"""The colour of each Gaussian on the page."""

from typing import Literal

import matplotlib
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.sparse import csr_matrix

from splat_uff.capture.images import to_bytes
from splat_uff.render import Gaussians
from splat_uff.report.write import gaussian_colours
from splat_uff.run.open import Run
from splat_uff.system.errors import InputError
from splat_uff.system.progress import notice

ColourMode = Literal["photo", "segments", "features", "confidence"]
SH_C0 = 0.28209479177387814
"""Value of the constant spherical harmonic."""
ACCENT = np.array([255.0, 190.0, 0.0])
LIT, FADED = 0.55, 0.6
"""Share of the accent colour mixed into selected Gaussians, and of the background into others."""


class Colours:
    """Colours of all Gaussians in every mode, computed on first use.

    Args:
        run: Run whose Gaussians are coloured.
        features: Feature of each Gaussian, from `features.npz`; without them, there are no modes
            `features` and `confidence`.
    """

    def __init__(self, run: Run, features: Float[np.ndarray, "N D"] | None) -> None:
        self._run, self._features = run, features
        self._fixed: dict[ColourMode, UInt8[np.ndarray, "N 3"]] = {}
        self.of_nodes = to_bytes(run.walk.colours)
        """Colour of each node, [T, 3]."""

    @property
    def modes(self) -> tuple[ColourMode, ...]:
        """Modes that are available for this run."""
        both: tuple[ColourMode, ...] = ("segments", "photo")
        return both if self._features is None else (*both, "features", "confidence")

    def of(self, mode: ColourMode, nodes: Int[np.ndarray, "N"]) -> UInt8[np.ndarray, "N 3"]:
        """Colours of all Gaussians in a mode.

        Args:
            mode: `photo`, the view-independent colour; `segments`, one colour per segment;
                `features`, their three main directions of variation; or `confidence` (see
                `agreement`), from dark to yellow.
            nodes: Segment of each Gaussian.
        """
        if mode == "segments":
            return self.of_nodes[nodes]
        if mode == "confidence":
            assert self._features is not None
            shades = matplotlib.colormaps["viridis"](np.linspace(0, 1, 256))[:, :3]
            return to_bytes(shades)[to_bytes(agreement(self._features, nodes))]
        if mode not in self._fixed:
            if mode == "photo":
                self._fixed[mode] = photo_colours(self._run.gaussians)
            else:
                assert self._features is not None
                colours = gaussian_colours(self._features, self._run.hierarchy)
                self._fixed[mode] = to_bytes(colours)
        return self._fixed[mode]


def read_features(run: Run) -> Float[np.ndarray, "N D"] | None:
    """Read the features of a run; None, with a notice, if it has none for its Gaussians."""
    try:
        return run.features
    except InputError as error:
        notice(f"no colours of features and confidence: {error}")
        return None


def photo_colours(gaussians: Gaussians) -> UInt8[np.ndarray, "N 3"]:
    """View-independent part of the Gaussians' colours."""
    return to_bytes(0.5 + SH_C0 * gaussians.sh0[:, 0].numpy())


def agreement(
    features: Float[np.ndarray, "N D"], nodes: Int[np.ndarray, "N"]
) -> Float[np.ndarray, "N"]:
    """Confidence of each Gaussian in its segment: cosine of its feature with the segment's mean.

    Negative cosines count as 0. Gaussians that no photo shows well have features that agree with
    nothing.
    """
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    _, segment = np.unique(nodes, return_inverse=True)
    count = len(segment)
    belongs = csr_matrix((np.ones(count, np.float32), segment, np.arange(count + 1)))
    sums = belongs.T @ unit
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.clip((unit * sums[segment]).sum(axis=1), 0, 1)


def light_up(
    colours: UInt8[np.ndarray, "N 3"],
    selected: Bool[np.ndarray, "N"],
    background: tuple[int, int, int],
) -> UInt8[np.ndarray, "N 3"]:
    """Mark the selection: it is lit up, and the rest fades into the background."""
    if not selected.any():
        return colours
    lit = (1 - LIT) * colours[selected] + LIT * ACCENT
    faded = (1 - FADED) * colours.astype(np.float32) + FADED * np.array(background, np.float32)
    faded[selected] = lit
    return faded.astype(np.uint8)
