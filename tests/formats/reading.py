"""Splats for tests of readers: random ones, their 3DGS `.ply`, and what others make of a file."""

from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from splat_uff.formats.quantised import Fields, fields_of
from splat_uff.formats.records import empty_table
from tests.programs import splat_transform

REST = (0, 9, 24, 45, 72)
ROUNDING = 2e-6
"""Relative difference of two float32 computations of one number."""


def random_splats(count=300, degree=1, *, seed=0, opaque=False) -> np.ndarray:
    """Gaussians in a cube of 2, all numbers far from the limits of every format.

    Args:
        opaque: Whether the first two Gaussians are fully transparent and fully opaque.
    """
    rng = np.random.default_rng(seed)
    table = empty_table(count, REST[degree])
    fields = fields_of(table)
    fields.centres[:] = rng.uniform(-1, 1, (count, 3))
    fields.opacity_logits[:] = rng.uniform(-4, 4, count)
    if opaque:
        fields.opacity_logits[:2] = -30, 30
    fields.dc[:] = rng.uniform(-1.5, 1.5, (count, 3))
    fields.rest[:] = rng.uniform(-0.9, 0.9, fields.rest.shape)
    fields.log_scales[:] = rng.uniform(-6, -1, (count, 3))
    quats = rng.normal(size=(count, 4))
    fields.quats[:] = quats / np.linalg.norm(quats, axis=1, keepdims=True)
    return table


def write_3dgs(path: Path, table: np.ndarray) -> Path:
    """Write float32 columns as the vertices of a binary `.ply`."""
    columns = "".join(f"property float {name}\n" for name in table.dtype.names)
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{columns}"
    path.write_bytes(f"{header}end_header\n".encode() + table.tobytes())
    return path


def read_3dgs(path: Path) -> np.ndarray:
    """Read what `write_3dgs` or splat-transform wrote, in our order of columns."""
    head, _, rows = path.read_bytes().partition(b"end_header\n")
    names = [line.split()[2] for line in head.decode().splitlines() if line.startswith("property")]
    found = np.frombuffer(rows, [(name, "<f4") for name in names])
    table = empty_table(len(found), sum(name.startswith("f_rest") for name in names))
    for name in table.dtype.names:
        table[name] = found[name]
    return table


def as_others_read(path: Path, to: Path) -> np.ndarray:
    """Table of a file as splat-transform decodes it."""
    splat_transform(path, to)
    return read_3dgs(to)


def sigmoid(logits):
    """Opacities of logits."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits.astype(np.float64)))


def assert_same(ours: np.ndarray, theirs: np.ndarray, *, quats=ROUNDING):
    """Two decodings of one file agree up to float32, and opacities up to 1e-6 at 0 and 1."""
    assert ours.dtype == theirs.dtype
    assert len(ours) == len(theirs)
    a, b = fields_of(ours), fields_of(theirs)
    assert np.isfinite(a.opacity_logits).all()
    np.testing.assert_allclose(sigmoid(a.opacity_logits), sigmoid(b.opacity_logits), atol=2e-6)
    for name in ("centres", "dc", "rest", "log_scales"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), ROUNDING, ROUNDING)
    np.testing.assert_allclose(a.quats, b.quats, atol=quats)


def assert_near(read: np.ndarray, source: np.ndarray, **steps):
    """Fields differ from the source by at most so much each, and quats also in sign."""
    assert read.dtype == source.dtype
    a, b = fields_of(read), fields_of(source)
    far = differences(a, b)
    assert far.keys() == steps.keys()
    for name, step in steps.items():
        assert (far[name] <= np.asarray(step) * (1 + 1e-3) + 2e-6).all(), (name, far[name].max())


def differences(a: Fields, b: Fields) -> dict[str, np.ndarray]:
    """Distance of each number of each field."""
    signs = np.where(np.einsum("ni,ni->n", a.quats, b.quats) < 0, -1, 1)[:, None]
    return {
        "centres": np.abs(a.centres - b.centres),
        "alphas": np.abs(sigmoid(a.opacity_logits) - sigmoid(b.opacity_logits)),
        "dc": np.abs(a.dc - b.dc),
        "rest": np.abs(a.rest - b.rest),
        "log_scales": np.abs(a.log_scales - b.log_scales),
        "quats": np.abs(a.quats - signs * b.quats),
    }


def matched(source: np.ndarray, read: np.ndarray) -> np.ndarray:
    """Rows of the source in the order of those read, by their centres."""
    rows = cKDTree(fields_of(source).centres).query(fields_of(read).centres)[1]
    assert len(set(rows)) == len(read)
    return source[rows]
