"""What rays see of the built-in scenes."""

from dataclasses import replace

import numpy as np
import pytest

from splat_uff.geometry.cameras import camera_from_opengl, pixel_centres, project, unproject
from splat_uff.scenes import lighting, materials, raytrace
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.scenes.covisible import covisible_pixels
from splat_uff.scenes.lighting import Light, Lighting
from splat_uff.scenes.parts import Part
from splat_uff.scenes.poses import (
    ANGLE_X,
    DISTANCE,
    train_poses,
    turned_pose,
    val_poses,
)
from splat_uff.scenes.raytrace import build_scene, cast, render_ids, render_photo
from splat_uff.scenes.shapes import box, sphere
from splat_uff.scenes.toy import build_toy


@pytest.fixture
def unlit(monkeypatch):
    """Ids and depth need no light, and no fine grid to keep it on."""
    monkeypatch.setattr(lighting, "SKY_DIRECTIONS", 1)
    monkeypatch.setattr(raytrace, "MAX_EDGE", 9.0)


def camera_at(pose, size=48):
    return camera_from_opengl(pose, angle_x=ANGLE_X, width=size, height=size)


def depth_of(scene, camera):
    hits = cast(scene, camera, pixel_centres(camera))
    return hits.depth.reshape(camera.height, camera.width)


def test_poses_stand_upright_at_their_distance_and_look_at_the_origin():
    poses = train_poses(20, rng=np.random.default_rng(0)) + val_poses(20)
    for pose in poses:
        np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
        assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
        assert np.linalg.norm(pose[:3, 3]) == pytest.approx(DISTANCE)
        assert pose[2, 0] == pytest.approx(0)
        assert pose[2, 3] > 0
        pixel, _ = project(camera_at(pose), np.zeros((1, 3)))
        np.testing.assert_allclose(pixel, [[24, 24]], atol=1e-9)


def test_cast_measures_depth_along_the_optical_axis(unlit):
    slab = Part("a", "slab", box(9, 9, 1), materials.OAK)
    pose = np.eye(4)
    pose[2, 3] = 4.0
    depth = depth_of(build_scene([slab]), camera_at(pose))
    np.testing.assert_allclose(depth, 3.5, atol=1e-5)  # Constant, although rays get longer.


def test_cast_depth_unprojects_onto_the_meshes(unlit):
    scene = build_scene(build_toy())
    camera = camera_at(val_poses(1)[0])
    hits = cast(scene, camera, pixel_centres(camera))
    seen = hits.part >= 0
    points = unproject(camera, pixel_centres(camera)[seen], hits.depth[seen].astype(float))
    corners = scene.surface.vertices[scene.surface.triangles[hits.triangle[seen]]]
    u, v = hits.barycentric[seen].T
    weights = np.stack([1 - u - v, u, v], axis=1)
    assert weights.min() > -1e-4  # Within the triangle.
    assert np.abs(np.einsum("rk,rkc->rc", weights, corners) - points).max() < 1e-4


def test_render_ids_agree_with_depth_and_keep_objects_in_one_collection(unlit):
    scene = build_scene(build_toy())
    camera = camera_at(val_poses(1)[0])
    hits = cast(scene, camera, pixel_centres(camera))
    objects, collections = render_ids(scene, hits)
    assert np.array_equal(objects > 0, hits.depth > 0)
    assert np.array_equal(objects > 0, collections > 0)
    for each in np.unique(objects):
        assert len(np.unique(collections[objects == each])) == 1
    assert objects.max() <= len(scene.objects) == 10


def test_render_photo_alpha_is_the_coverage_of_a_pixel():
    scene = build_scene([Part("a", "ball", sphere(1, segments=96), materials.OAK)])
    photo, _ = render_photo(scene, camera_at(val_poses(1)[0]))
    # The silhouette of a ball of radius 1 subtends tan(asin(1 / distance)).
    radius = 24 * np.tan(np.arcsin(1 / DISTANCE)) / np.tan(ANGLE_X / 2)
    assert photo[..., 3].sum() / 255 == pytest.approx(np.pi * radius**2, rel=0.02)
    assert (photo[..., 3] == 0).any()
    assert ((photo[..., 3] > 0) & (photo[..., 3] < 255)).any()


def test_render_photo_repeats_itself():
    camera = camera_at(val_poses(1)[0])
    photos = [render_photo(build_scene(build_toy()), camera)[0] for _ in range(2)]
    assert np.array_equal(*photos)


def test_sky_light_is_full_in_the_open_and_dim_under_a_roof():
    floor = Part("a", "floor", box(2, 2, 0.1), materials.OAK)
    roof = Part("a", "roof", box(2, 2, 0.1).moved(z=0.3), materials.OAK)
    light = []
    for parts in ([floor], [floor, roof]):
        scene = build_scene(parts)
        upper = np.abs(scene.surface.vertices - [0, 0, 0.05]).max(axis=1) < 0.2
        light.append(scene.sky[upper & (scene.surface.normals[:, 2] > 0.9)].mean())
    assert light[0] > 0.8
    assert light[1] < 0.2


def test_sky_light_of_limited_reach_gets_under_a_roof_above_it():
    floor, roof = (Part("a", name, box(1, 1, 0.1), materials.OAK) for name in ("floor", "roof"))
    roof = roof.moved(z=0.6)
    light = []
    for reach in (0.4, 0.6):
        scene = build_scene([floor, roof], Lighting((), reach=reach))
        middle = np.abs(scene.surface.vertices - [0, 0, 0.05]).max(axis=1) < 0.1
        light.append(scene.sky[middle & (scene.surface.normals[:, 2] > 0.9)].mean())
    assert light[0] > 0.8
    assert light[1] < 0.8 * light[0]


def test_lamp_lights_less_with_distance_and_not_through_a_lid():
    lamp = Lighting((Light((0, 0, 2), (0.3, 0.3, 0.3), is_lamp=True),), sky_colour=(0, 0, 0))
    pose = np.eye(4)
    pose[2, 3] = 1.2  # Looks down, below the lid.
    felt = materials.WHITE_FELT  # Mirrors nothing.
    near, far = (Part("a", "table", box(1, 1, 0.1).moved(z=z), felt) for z in (0.5, 0))
    lid = Part("a", "lid", box(1, 1, 0.1).moved(z=1.6), felt)
    tones = []
    for parts in ([near], [far], [far, lid]):
        photo, _ = render_photo(build_scene(parts, lamp), camera_at(pose, 24))
        tones.append(photo[..., :3].mean())
    assert tones[0] > tones[1] > tones[2] == 0


def test_glow_is_seen_without_any_light():
    glowing = replace(materials.WHITE_FELT, glow=0.5)
    dark = Lighting((), sky_colour=(0, 0, 0))
    tones = []
    for material in (materials.WHITE_FELT, glowing):
        scene = build_scene([Part("a", "ball", sphere(1), material)], dark)
        photo, _ = render_photo(scene, camera_at(val_poses(1)[0], 24))
        tones.append(int(photo[12, 12, 0]))
    assert tones[0] == 0
    assert tones[1] > 120


@pytest.mark.parametrize("degrees", [0, 10, 90])
def test_covisible_pixels_are_mutual(unlit, degrees):
    scene = build_scene(build_toy())
    pose = val_poses(1)[0]
    here, there = (camera_at(p, 96) for p in (pose, turned_pose(pose, degrees=degrees)))
    depth, other_depth = depth_of(scene, here), depth_of(scene, there)
    seen = covisible_pixels(here, depth, there, other_depth)
    assert not seen[depth == 0].any()
    if degrees == 0:
        assert np.array_equal(seen, depth > 0)
    back = covisible_pixels(there, other_depth, here, depth)
    points = unproject(here, pixel_centres(here)[seen.ravel()], depth[seen].astype(float))
    x, y = np.floor(project(there, points)[0]).astype(int).T
    # A surface seen in one view only where it is seen in the other; its rim may shift by a pixel.
    near = np.lib.stride_tricks.sliding_window_view(np.pad(back, 1), (3, 3)).any(axis=(2, 3))
    assert near[y, x].mean() > 0.995


def test_covisible_pixels_leave_out_what_hides_behind_an_occluder(unlit):
    wall = Part("a", "wall", box(0.1, 2.0, 1.0), materials.OAK)
    scene = build_scene([wall])
    pose = val_poses(1)[0]
    here, there = (camera_at(p) for p in (pose, turned_pose(pose, degrees=180)))
    seen = covisible_pixels(here, depth_of(scene, here), there, depth_of(scene, there))
    objects = depth_of(scene, here) > 0
    assert 0 < seen.sum() < 0.5 * objects.sum()  # Only its top is seen from both sides.


def test_drums_show_many_objects_and_touching_parts_of_one_material(unlit):
    recipe = RECIPES["drums"]
    parts = recipe.build()
    scene = build_scene(parts)
    assert len(scene.objects) >= 60
    assert len(scene.collections) >= 9
    size = recipe.truth_size
    pixels, pairs = [], set()
    for pose in val_poses(recipe.num_val):
        camera = camera_at(pose, size)
        hits = cast(scene, camera, pixel_centres(camera))
        objects, _ = render_ids(scene, hits)
        pixels.append(np.bincount(objects, minlength=len(scene.objects) + 1)[1:])
        part, depth = hits.part.reshape(size, size), hits.depth.reshape(size, size)
        for a, b in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
            touch = (part[a] != part[b]) & (part[a] >= 0) & (part[b] >= 0)
            touch &= np.abs(depth[a] - depth[b]) < 0.03
            pairs |= set(zip(part[a][touch].tolist(), part[b][touch].tolist(), strict=True))
    often = (np.array(pixels) > 20).mean(axis=0) >= 0.5
    assert often.sum() >= 45
    alike = {
        frozenset((parts[a].path, parts[b].path))
        for a, b in pairs
        if parts[a].path != parts[b].path and parts[a].material == parts[b].material
    }
    assert len(alike) >= 15
