"""Records that hold arrays: `==` and `repr` of them do not surprise."""

import importlib
import inspect
import pkgutil
from dataclasses import fields, is_dataclass

import numpy as np
import pytest

import splat_uff
from splat_uff.geometry.cameras import Camera
from splat_uff.hierarchy.dendrogram import Dendrogram


def records():
    """Every dataclass of the package with a field that is an array."""
    for found in pkgutil.walk_packages(splat_uff.__path__, "splat_uff."):
        if found.name.endswith("__main__"):
            continue
        for kind in vars(importlib.import_module(found.name)).values():
            if inspect.isclass(kind) and is_dataclass(kind) and kind.__module__ == found.name:
                notes = " ".join(str(each.type) for each in fields(kind))
                if any(word in notes for word in ("ndarray", "Tensor", "matrix")):
                    yield kind


def test_records_of_arrays_are_equal_by_identity_and_can_be_keys():
    found = list(records())
    assert len(found) > 40
    for kind in found:
        assert kind.__eq__ is object.__eq__, kind
        assert kind.__hash__ is object.__hash__, kind


def test_a_record_is_shown_on_one_line_with_shapes():
    tree = Dendrogram(np.array([2, 2, 2]), np.array([0.0, 0.0, 1.0]), 2)
    assert repr(tree) == "Dendrogram(parents=int64[3], altitudes=float64[3], num_leaves=2)"
    camera = Camera(np.eye(4), np.eye(3), 20, 10)
    assert (
        repr(camera) == "Camera(world_from_cam=float64[4, 4], K=float64[3, 3], width=20, height=10)"
    )
    assert camera != Camera(np.eye(4), np.eye(3), 20, 10)
    assert {camera: 1}[camera] == 1


def test_records_cannot_be_changed():
    with pytest.raises(AttributeError):
        Camera(np.eye(4), np.eye(3), 20, 10).width = 30  # pyright: ignore
