"""Our files in simulators and in Blender: bodies rest on what they show, and axes are as told."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splat_uff.export.collision import write_collision
from splat_uff.export.glb import write_glb
from splat_uff.export.hulls import hull_of
from tests.export.glb_files import make_splats

UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
"""Rotation from y down, as in our files, to z up, as simulators and Blender have it."""
RADIUS, DROP = 0.1, 0.2
STEP = 0.4
"""Height of the foot of the L, in which a ball is to come to rest."""


def box(low, high):
    """Hull of a box whose corners are given with z up, in the axes of our files."""
    grid = np.array(np.meshgrid(*np.stack([low, high], 1))).reshape(3, -1).T
    return hull_of(grid @ UP, 0)  # Rows times the matrix are turned back.


@pytest.fixture
def part(tmp_path):
    """An L that stands on its foot: 1 x 0.5, 0.4 high, and at one end 0.3 x 0.5, 1 high."""
    foot = box((-0.5, -0.25, 0), (0.5, 0.25, STEP))
    back = box((-0.5, -0.25, 0), (-0.2, 0.25, 1))
    path = tmp_path / "part.obj"
    write_collision(path, [foot, back], "corner")
    return path


def pieces_of(path: Path) -> list[Path]:
    """One file for each object of an `.obj`, by the code of the guide."""
    guide = Path(__file__).parents[2] / "docs" / "tools.md"
    code = guide.read_text("utf-8").partition("```python\n")[2].partition("```")[0]
    assert "def split(" in code
    names: dict[str, Any] = {}
    exec(code, names)
    return [path.with_name(name) for name in names["split"](path)]


def test_a_part_rests_in_mujoco_and_carries_a_ball_in_its_corner(part):
    mujoco = pytest.importorskip("mujoco", reason="pip install mujoco")
    files = pieces_of(part)
    assert len(files) == 2
    meshes = "".join(f'<mesh name="{path.stem}" file="{path}"/>' for path in files)
    geoms = "".join(f'<geom type="mesh" mesh="{path.stem}"/>' for path in files)
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco><asset>{meshes}</asset><worldbody>
        <geom type="plane" size="5 5 1"/>
        <body name="part" pos="0 0 {DROP}" euler="-90 0 0"><freejoint/>{geoms}</body>
        <body name="ball" pos="0.2 0 {STEP + 2 * DROP + RADIUS}"><freejoint/>
        <geom type="sphere" size="{RADIUS}" condim="6" friction="1 0.1 0.1"/></body>
        </worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    for _ in range(round(3 / model.opt.timestep)):
        mujoco.mj_step(model, data)
    assert np.abs(data.qvel).max() < 0.01
    turned = data.body("part").xmat.reshape(3, 3)
    np.testing.assert_allclose(turned, UP, atol=0.01)
    np.testing.assert_allclose(data.body("part").xpos, 0, atol=0.01)
    # In the hull of both pieces, the ball would lie on a slope.
    assert data.body("ball").xpos[2] == pytest.approx(STEP + RADIUS, abs=0.01)


def test_mujoco_makes_one_hull_of_a_whole_file(part):
    mujoco = pytest.importorskip("mujoco", reason="pip install mujoco")
    model = mujoco.MjModel.from_xml_string(
        f"""<mujoco><asset><mesh name="part" file="{part}"/></asset><worldbody>
        <body euler="-90 0 0"><geom type="mesh" mesh="part"/></body>
        <body pos="0.2 0 {STEP + DROP + RADIUS}"><freejoint/>
        <geom type="sphere" size="{RADIUS}"/></body></worldbody></mujoco>"""
    )
    data = mujoco.MjData(model)
    touched = []
    for _ in range(round(0.5 / model.opt.timestep)):
        mujoco.mj_step(model, data)
        touched.append(data.ncon > 0)
    first = touched.index(True)
    fallen = 9.81 * (first * model.opt.timestep) ** 2 / 2
    assert fallen < DROP - 0.03, "the ball has passed the slope, so pieces are apart"


def test_a_part_rests_in_pybullet_and_carries_a_ball_in_its_corner(part):
    bullet = pytest.importorskip("pybullet", reason="pip install pybullet")
    bullet.connect(bullet.DIRECT)
    try:
        bullet.setGravity(0, 0, -9.81)
        bullet.createMultiBody(0, bullet.createCollisionShape(bullet.GEOM_PLANE))
        shape = bullet.createCollisionShape(bullet.GEOM_MESH, fileName=str(part))
        centre = (-0.1, -0.35, 0)  # Of mass, in the axes of the file.
        body = bullet.createMultiBody(
            1, shape, basePosition=(0, 0, DROP), baseInertialFramePosition=centre,
            baseOrientation=bullet.getQuaternionFromEuler((-np.pi / 2, 0, 0)),
        )  # fmt: skip
        ball = bullet.createMultiBody(
            0.1, bullet.createCollisionShape(bullet.GEOM_SPHERE, radius=RADIUS),
            basePosition=(0.2, 0, STEP + 2 * DROP + RADIUS),
        )  # fmt: skip
        bullet.changeDynamics(ball, -1, rollingFriction=0.01)
        for _ in range(3 * 240):
            bullet.stepSimulation()
        assert len(bullet.getCollisionShapeData(body, -1)) == 2
        place, turn = bullet.getBasePositionAndOrientation(body)
        matrix = np.array(bullet.getMatrixFromQuaternion(turn)).reshape(3, 3)
        np.testing.assert_allclose(matrix, UP, atol=0.01)
        np.testing.assert_allclose(np.array(place) - matrix @ centre, 0, atol=0.02)
        assert np.abs(bullet.getBaseVelocity(body)).max() < 0.01
        resting = bullet.getBasePositionAndOrientation(ball)[0]
        assert resting[2] == pytest.approx(STEP + RADIUS, abs=0.02)
    finally:
        bullet.disconnect()


IMPORT = """
import json, os, sys
import bpy
import numpy as np

def boxes():
    found = {}
    for thing in bpy.data.objects:
        points = np.array([thing.matrix_world @ v.co for v in thing.data.vertices])
        found[thing.name] = [points.min(0).tolist(), points.max(0).tolist()]
    return found

obj, glb, output = sys.argv[1:]
found = []
for axes in ({}, {"forward_axis": "Z", "up_axis": "NEGATIVE_Y"}):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.obj_import(filepath=obj, **axes)
    found.append(boxes())
bpy.ops.wm.read_factory_settings(use_empty=True)
bpy.ops.import_scene.gltf(filepath=glb)
found.append(boxes())
with open(output, "w") as file:
    json.dump(found, file)
os._exit(0)  # Some builds of bpy crash as they end.
"""


@pytest.mark.slow
def test_blender_imports_parts_upright_by_the_axes_that_the_page_names(part, tmp_path):
    if importlib.util.find_spec("bpy") is None:
        pytest.skip("bpy is not installed")
    table, output = make_splats(50), tmp_path / "boxes.json"
    write_glb(tmp_path / "scene.glb", table)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, str(part), str(tmp_path / "scene.glb"), str(output)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    default, upright, gltf = json.loads(output.read_text())
    expected = {
        "corner_1": [(-0.5, -0.25, 0), (0.5, 0.25, STEP)],
        "corner_2": [(-0.5, -0.25, 0), (-0.2, 0.25, 1)],
    }
    assert set(upright) == set(default) == set(expected)
    for name, (low, high) in expected.items():
        np.testing.assert_allclose(upright[name], [low, high], atol=1e-6)
        # As -Z Forward, Y Up, it stands on its head.
        np.testing.assert_allclose(np.array(default[name])[:, 2], [-high[2], -low[2]], atol=1e-6)
    centres = np.stack([table[letter] for letter in "xyz"], axis=1) @ UP.T
    np.testing.assert_allclose(
        gltf["gaussians"], [centres.min(axis=0), centres.max(axis=0)], rtol=1e-5
    )
