"""Laws of pinhole cameras."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from splat_uff.geometry.cameras import (
    OPENCV_FROM_OPENGL,
    Camera,
    camera_from_opengl,
    pixel_centres,
    project,
    ray_directions,
    unproject,
)

SEEDS = st.integers(0, 2**32 - 1)


def random_camera(rng):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    pose[:3, 3] = rng.normal(scale=3, size=3)
    width, height = (int(side) for side in rng.integers(2, 40, 2))
    return camera_from_opengl(pose, angle_x=rng.uniform(0.1, 2.5), width=width, height=height)


@given(seed=SEEDS)
def test_unproject_inverts_project(seed):
    rng = np.random.default_rng(seed)
    camera = random_camera(rng)
    pixels = rng.uniform(-1, 2, (10, 2)) * (camera.width, camera.height)
    depth = rng.uniform(0.1, 9, 10)
    seen, seen_depth = project(camera, unproject(camera, pixels, depth))
    np.testing.assert_allclose(seen, pixels, atol=1e-6)
    np.testing.assert_allclose(seen_depth, depth, atol=1e-9)


@given(seed=SEEDS)
def test_project_measures_depth_along_the_axis(seed):
    rng = np.random.default_rng(seed)
    camera = random_camera(rng)
    points = rng.normal(size=(10, 3))
    forward = camera.world_from_cam[:3, 2]
    np.testing.assert_allclose(project(camera, points)[1], (points - camera.centre) @ forward)


def test_project_marks_points_beside_the_pinhole_without_a_warning():
    camera = camera_from_opengl(np.eye(4), angle_x=1.0, width=8, height=6)
    pixels, depth = project(camera, np.array([[0.0, 0, 0], [1, 0, 0]]))
    assert (depth == 0).all()  # To the bit: of any other pose, rounding would decide.
    assert not np.isfinite(pixels).all(axis=1).any()


@given(seed=SEEDS)
def test_cam_from_world_is_the_inverse_pose(seed):
    camera = random_camera(np.random.default_rng(seed))
    np.testing.assert_allclose(camera.cam_from_world @ camera.world_from_cam, np.eye(4), atol=1e-9)
    np.testing.assert_allclose(camera.cam_from_world @ [*camera.centre, 1], [0, 0, 0, 1], atol=1e-9)


@given(seed=SEEDS, size=st.tuples(st.integers(1, 80), st.integers(1, 80)))
def test_resized_keeps_the_field_of_view(seed, size):
    rng = np.random.default_rng(seed)
    camera = random_camera(rng)
    other = camera.resized(*size)
    assert (other.width, other.height) == size
    points = unproject(
        camera, rng.uniform(0, 1, (5, 2)) * (camera.width, camera.height), np.ones(5)
    )
    shares = project(camera, points)[0] / (camera.width, camera.height)
    np.testing.assert_allclose(project(other, points)[0] / size, shares, atol=1e-9)
    np.testing.assert_allclose(other.resized(camera.width, camera.height).K, camera.K)


@given(seed=SEEDS)
def test_ray_directions_are_unit_and_lead_to_what_is_seen(seed):
    rng = np.random.default_rng(seed)
    camera = random_camera(rng)
    pixels = pixel_centres(camera)
    rays = ray_directions(camera, pixels)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=1), 1)
    along = camera.centre + rng.uniform(0.1, 5, (len(rays), 1)) * rays
    np.testing.assert_allclose(project(camera, along)[0], pixels, atol=1e-6)


def test_pixel_centres_run_row_by_row_at_half_integers():
    camera = Camera(np.eye(4), np.eye(3), width=3, height=2)
    expected = [[0.5, 0.5], [1.5, 0.5], [2.5, 0.5], [0.5, 1.5], [1.5, 1.5], [2.5, 1.5]]
    assert pixel_centres(camera).tolist() == expected


def test_camera_from_opengl_looks_along_minus_z_with_y_up():
    camera = camera_from_opengl(np.eye(4), angle_x=np.pi / 2, width=100, height=50)
    points = np.array([[0.0, 0, -1], [1, 0, -1], [0, 0.5, -1], [0, 0, 1]])
    pixels, depth = project(camera, points)
    np.testing.assert_allclose(depth, [1, 1, 1, -1])
    # Straight ahead is the middle, +x the right border and +y the upper one.
    np.testing.assert_allclose(pixels[:3], [[50, 25], [100, 25], [50, 0]], atol=1e-9)
    assert np.array_equal(OPENCV_FROM_OPENGL @ OPENCV_FROM_OPENGL, np.eye(4))
