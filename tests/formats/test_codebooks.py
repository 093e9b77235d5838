"""Codebooks and palettes, and the order of rows along a curve."""

import numpy as np
import pytest

from splat_uff.formats.codebooks import codebook_of, nearest_in, palette_of
from splat_uff.formats.packing import morton_order


def skewed(count=20_000):
    """Numbers of which few lie far away, as scales and colours do."""
    return np.random.default_rng(0).standard_t(3, size=count)


def squared_error(values, book):
    return ((values - book[nearest_in(book, values)]) ** 2).mean()


def test_codebook_of_keeps_up_to_256_numbers():
    values = np.random.default_rng(0).normal(size=256).astype(np.float32)
    repeated = np.tile(values, 5).astype(np.float64)
    book = codebook_of(repeated)
    assert (book == np.sort(values)).all()
    assert (book[nearest_in(book, repeated)] == repeated).all()
    assert (codebook_of(np.array([3.0, 1.0])) == [1.0, *[3.0] * 255]).all()


def test_codebook_of_is_at_rest():
    values = skewed()
    book = codebook_of(values).astype(np.float64)
    found = nearest_in(book, values)
    means = np.bincount(found, values, 256) / np.bincount(found, minlength=256)
    assert np.abs(means - book).max() < 0.01 * values.std()


def test_codebook_of_beats_even_steps_and_quantiles():
    values = skewed()
    even = np.linspace(values.min(), values.max(), 256)
    quantiles = np.quantile(values, (np.arange(256) + 0.5) / 256)
    best = squared_error(values, codebook_of(values))
    assert best < 0.1 * squared_error(values, even)
    assert best < 0.1 * squared_error(values, quantiles)


def test_nearest_in_is_nearest():
    values = skewed(500)
    book = codebook_of(skewed())
    apart = np.abs(values[:, None] - book.astype(np.float64))
    assert np.allclose(np.abs(values - book[nearest_in(book, values)]), apart.min(axis=1))


def clouds(count, width=9):
    """Rows around 40 centres."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, width))[rng.integers(0, 40, count)]
    return (rows + rng.normal(scale=0.1, size=rows.shape)).astype(np.float32)


def test_palette_of_keeps_distinct_rows_exactly():
    rows = np.repeat(clouds(50), 7, axis=0)
    palette, labels = palette_of(rows, 64)
    assert len(palette) == 50
    assert np.allclose(palette[labels], rows, atol=1e-6)
    palette, labels = palette_of(rows[:7], 64)
    assert (palette[labels] == rows[:7]).all()
    assert len(palette) == 1


@pytest.mark.parametrize("size", [64, 2048])
def test_palette_of_is_nearer_than_rows_taken_at_random(size):
    rows = clouds(4000)
    palette, labels = palette_of(rows, size)
    assert palette.shape == (size, 9)
    assert np.unique(labels).min() >= 0
    found = ((rows - palette[labels]) ** 2).sum()
    drawn = rows[np.random.default_rng(0).permutation(len(rows))[:size]].astype(np.float64)
    apart = (rows**2).sum(axis=1)[:, None] - 2 * rows @ drawn.T + (drawn**2).sum(axis=1)
    assert found < 0.6 * apart.min(axis=1).sum()


def test_palette_of_gives_nearly_the_nearest():
    rows = clouds(4000)
    palette, labels = palette_of(rows, 2048)
    apart = ((rows[::10, None] - palette) ** 2).sum(axis=2)
    given = apart[np.arange(400), labels[::10]]
    assert given.sum() < 1.05 * apart.min(axis=1).sum()


def test_palette_of_finds_few_among_many_equal_rows():
    rows = np.zeros((30_001, 9), np.float32)
    rows[[7, 8_001, 29_999], [0, 3, 8]] = [1, -2, 1e6]
    palette, labels = palette_of(rows, 16)
    assert len(palette) == 4
    assert (palette[labels] == rows).all()


def test_morton_order_follows_the_curve():
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
    order = morton_order(corners * [1, 20, 300] + [-5, 0, 7])
    assert corners[order].tolist() == sorted(corners.tolist(), key=lambda c: c[::-1])


def test_morton_order_keeps_the_order_of_equal_points():
    assert morton_order(np.full((5, 3), 2.0)).tolist() == [0, 1, 2, 3, 4]


def test_morton_order_puts_near_rows_near():
    points = np.random.default_rng(0).uniform(size=(4096, 3))
    steps = np.diff(points[morton_order(points)], axis=0)
    assert (
        np.linalg.norm(steps, axis=1).mean()
        < 0.15 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()
    )
