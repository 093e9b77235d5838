"""The built-in scene `room`: cameras that stand in it, and photos that it fills."""

from dataclasses import replace

import numpy as np
import pytest
from trimesh.triangles import closest_point

from splat_uff.capture import read_capture
from splat_uff.geometry.cameras import camera_from_opengl, pixel_centres
from splat_uff.scenes import lighting, raytrace
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.scenes.covisible import covisible_pixels
from splat_uff.scenes.poses import TURNS, turned_pose
from splat_uff.scenes.raytrace import build_scene, cast, render_ids
from splat_uff.scenes.write import DEPTH_RANGE, write_scene

ROOM = RECIPES["room"]
TRAIN = ROOM.cameras.train(ROOM.num_train, rng=np.random.default_rng(0))
VAL = ROOM.cameras.val(ROOM.num_val)
TWINS = {degrees: [turned_pose(pose, degrees=degrees) for pose in VAL] for degrees in TURNS}
CLEARANCE = 0.3
"""Least distance of a camera from any surface, in metres."""


@pytest.fixture(scope="module")
def coarse():
    """Little light and no fine grid to keep it on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lighting, "SKY_DIRECTIONS", 1)
        patch.setattr(raytrace, "MAX_EDGE", 9.0)
        yield


@pytest.fixture(scope="module")
def room(coarse):
    return build_scene(ROOM.build(), ROOM.lighting)


def hits_of(room, pose, size):
    camera = camera_from_opengl(pose, angle_x=ROOM.cameras.angle_x, width=size, height=size)
    return camera, cast(room, camera, pixel_centres(camera))


@pytest.mark.parametrize("poses", [TRAIN, VAL, *TWINS.values()], ids=["train", "val", *TURNS])
def test_cameras_stand_in_the_room_clear_of_everything_and_upright(room, poses):
    places = np.array([pose[:3, 3] for pose in poses])
    assert (np.abs(places) < [2.5, 2.1, 1.25]).all()
    triangles = room.surface.vertices[room.surface.triangles].astype(float)
    for place in places:
        nearest = closest_point(triangles, np.broadcast_to(place, (len(triangles), 3)))
        assert np.linalg.norm(nearest - place, axis=1).min() > CLEARANCE
    for pose in poses:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert pose[2, 0] == pytest.approx(0)
        assert pose[2, 1] > 0


def test_every_ray_hits_the_room_within_the_range_of_depth_images(room):
    for pose in [*TRAIN, *VAL, *(pose for poses in TWINS.values() for pose in poses)]:
        _, hits = hits_of(room, pose, 24)
        assert (hits.part >= 0).all()
        assert hits.depth.max() < DEPTH_RANGE


def test_every_object_is_seen_by_several_training_and_held_out_cameras(room):
    assert 30 <= len(room.objects) <= 60
    assert 6 <= len(room.collections) <= 9
    for poses, least in ((TRAIN, 6), (VAL, 2)):
        seen = np.zeros(len(room.objects) + 1, int)
        for pose in poses:
            objects, _ = render_ids(room, hits_of(room, pose, 90)[1])
            seen += np.bincount(objects, minlength=len(seen)) >= 5
        unseen = [name for name, count in zip(room.objects, seen[1:], strict=True) if count < least]
        assert poses is VAL or not unseen, unseen
        assert len(unseen) <= 0.1 * len(room.objects), unseen


@pytest.mark.parametrize(("degrees", "least"), [(10, 0.7), (45, 0.4), (90, 0.15), (135, 0.1)])
def test_rotated_twins_share_the_middle_of_the_room(room, degrees, least):
    for pose, twin in zip(VAL, TWINS[degrees], strict=True):
        depths = []
        for each in (pose, twin):
            camera, hits = hits_of(room, each, 60)
            depths += [camera, hits.depth.reshape(60, 60)]
        assert covisible_pixels(*depths).mean() > least


def test_written_room_is_opaque_and_a_few_units_large(coarse, tmp_path):
    small = replace(ROOM, photo_size=24, truth_size=24, num_train=5, num_val=1)
    write_scene(tmp_path, "room", small, rng=np.random.default_rng(0))
    capture = read_capture(tmp_path)
    assert not capture.has_alpha
    for view in (*capture.train, *capture.val):
        assert (view.image[..., 3] == 1).all()
        assert view.truth is not None
        assert view.truth.objects.min() > 0
    scale = float(capture.source_from_world[0, 0])
    assert 0.6 < scale < 1.2
    assert np.abs(capture.source_from_world[:3, 3]).max() == 0  # The middle stays the middle.
