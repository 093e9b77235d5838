"""Splats of other formats are named by what is in them, in one line that says what to do."""

import gzip
import json
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from splat_uff.formats.detect import detect
from splat_uff.system.errors import InputError
from tests.formats.splats import make_table, read_table, write_elements, write_ply


def write_ply_of(path, *elements):
    write_elements(path, dict(elements))


def points(*names):
    return np.ones(4, [(name, "<f4") for name in ("x", "y", "z", *names)])


def compressed_ply(path):
    names = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
    packed = np.zeros(4, [(name, "<u4") for name in names])
    write_ply_of(path, ("chunk", np.zeros(1, [("min_x", "<f4")])), ("vertex", packed))


def splat(path):
    row = struct.pack("<6f8B", 1, -2, 3, 0.1, 0.2, 0.3, *range(8))
    path.write_bytes(row * 7)


def spz(path):
    path.write_bytes(gzip.compress(struct.pack("<4sII4x", b"NGSP", 3, 9) + bytes(100)))


def ksplat(path):
    header = bytes([0, 1, 0, 0]) + struct.pack("<4I", 1, 1, 9, 9) + bytes(4096)
    path.write_bytes(header[:4096] + bytes(2000))


def sog(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("meta.json", json.dumps({"means": {}, "scales": {}}))
        archive.writestr("means_l.webp", b"")


def sog_meta(path):
    path.write_text(json.dumps({"version": 2, "means": {}, "scales": {}, "quats": {}}))


def sog_folder(path):
    path.mkdir()
    sog_meta(path / "meta.json")


def glb(path):
    path.write_bytes(b"glTF" + struct.pack("<II", 2, 20) + bytes(20))


def gltf(path):
    path.write_text(json.dumps({"asset": {"version": "2.0"}}))


def checkpoint(path):
    torch.save({"splats": {"means": torch.zeros(2, 3)}}, path)


def old_checkpoint(path):
    torch.save({"splats": {"means": torch.zeros(2, 3)}}, path, _use_new_zipfile_serialization=False)


def point_cloud(path):
    write_ply_of(path, ("vertex", points("red", "green", "blue")))


def mesh(path):
    write_ply_of(path, ("vertex", points("nx")), ("face", np.zeros(1, [("index", "<i4")])))


def empty(path):
    path.touch()


def folder(path):
    path.mkdir()


def run_folder(path):
    inside = path / "point_cloud" / "iteration_7000"
    inside.mkdir(parents=True)
    write_ply(inside / "point_cloud.ply", make_table())


READ = {
    compressed_ply: "compressed-ply",
    splat: "splat",
    spz: "spz",
    ksplat: "ksplat",
    sog: "sog",
    sog_meta: "sog",
    sog_folder: "sog",
}
REFUSED = {
    glb: r"\.glb",
    gltf: r"\.gltf",
    checkpoint: r"checkpoint .*ns-export",
    old_checkpoint: r"checkpoint .*ns-export",
    point_cloud: "point cloud without columns of Gaussians",
    mesh: "mesh without columns of Gaussians",
    empty: "is empty",
    folder: "is a folder",
    run_folder: r"is a folder.*iteration_7000/point_cloud\.ply",
}


@pytest.mark.parametrize("name", ["given.ply", "given.bin"])
@pytest.mark.parametrize("write", READ)
def test_formats_are_known_whatever_the_file_is_called(write, name, tmp_path):
    path = tmp_path / name
    write(path)
    assert detect(path) == READ[write]


@pytest.mark.parametrize("name", ["given.ply", "given.bin"])
@pytest.mark.parametrize("write", REFUSED)
def test_other_files_are_refused_by_what_they_are(write, name, tmp_path):
    path = tmp_path / name
    write(path)
    with pytest.raises(InputError, match=REFUSED[write]) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path} is ")
    assert "expected a .ply, .splat, .ksplat, .spz or .sog of splats, so " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_3dgs_ply_passes_whatever_it_is_called(tmp_path):
    path = write_ply(tmp_path / "splats.splat", make_table())
    detect(path)
    assert len(read_table(path)) == 5


def test_files_are_judged_without_torch(tmp_path):
    """An answer in a moment, and none of the readers of tensors near a file of a stranger."""
    checkpoint(tmp_path / "given.ckpt")
    write_ply(tmp_path / "given.ply", make_table())
    code = (
        "import sys; from pathlib import Path; from splat_uff.gaussians.source import read_given\n"
        "for path in map(Path, sys.argv[1:]):\n"
        "    try: read_given(path)\n"
        "    except ValueError as error: print(error)\n"
        "assert 'torch' not in sys.modules and 'numba' not in sys.modules"
    )
    paths = [str(tmp_path / name) for name in ("given.ckpt", "given.ply")]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, check=True
    )
    assert "PyTorch checkpoint" in done.stdout
