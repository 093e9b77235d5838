"""Files of strangers: whatever the layout, one line, exit code 2, nothing written, without torch.

`python -m tests.test_hostile` in a process of its own, as torch is loaded here already.
"""

import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

READERS = ("blender", "nerfstudio", "colmap", "llff", "partnet")
SKIPPING = ("nerfstudio", "colmap", "blender", "partnet")
"""Whose photos are skipped and counted where they are missing; LLFF pairs them with rows."""
MASKS = ("folder of PNGs", "label picture", "array", "run lengths")
PHOTO_HARM = (
    *("empty", "truncated", "no image", "bomb", "announced bomb", "loop", "folder"),
    *("HEIC", "pointer", "proportions"),
)
MASK_HARM = {
    "folder of PNGs": (
        *("empty", "truncated", "bomb", "announced bomb", "loop", "size", "HEIC"),
        *("coarse", "sideways"),
    ),
    "label picture": ("empty", "truncated", "bomb", "announced bomb", "lossy", "size", "HEIC"),
    "array": ("empty", "truncated", "pickle", "announced bomb", "floats", "size"),
    "run lengths": ("empty", "truncated", "not UTF-8", "announced bomb", "deep", "size", "sum"),
}
CAPTURE_HARM = {
    "nerfstudio": ("corner", "climbs", "drive", "strange list", "listed out", "no photos"),
    "blender": ("corner", "climbs", "drive", "no photos"),
    "colmap": ("climbs", "no photos", "text"),
    "llff": ("no photos", "one more"),
}
"""Files that contradict each other, or what they say."""
SPLATS_HARM = (
    *("empty", "truncated", "folder", "loop", "billion rows", "all NaN", "point cloud", "mesh"),
    *("compressed", "checkpoint", "spz", "splat", "ksplat", "text"),
)
MOST_BYTES = 3 * 10**8
"""Memory that a refusal may take beyond what the process had."""


def make_capture(kind: str, folder: Path) -> list[Path]:
    """Write a small capture; returns its photos."""
    from tests.capture import test_blender as blender
    from tests.capture import test_posed as posed

    if kind == "blender":
        blender.write_split(folder, "train")
        return sorted((folder / "train").glob("*.png"))
    if kind == "partnet":
        posed.write_partnet(folder)
        return sorted(folder.glob("*/shape-rgb.png"))
    posed.write_photos(folder / "images")
    if kind == "nerfstudio":
        posed.write_transforms(folder)
    elif kind == "colmap":
        posed.write_colmap(folder)
    else:
        posed.write_llff(folder)
    return sorted((folder / "images").glob("*.png"))


def bomb(path: Path, *, rows: int, columns: int) -> None:
    """A small PNG of many pixels, or one that only says so."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", columns, rows, 8, 0, 0, 0, 0)
    packed = zlib.compress(bytes(rows * (columns + 1)), 1) if rows < 2**16 else b""
    pieces = chunk(b"IHDR", header), chunk(b"IDAT", packed), chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(pieces))


def harm(path: Path, how: str) -> None:
    """Damage a file."""
    content = path.read_bytes()
    path.unlink()
    if how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "no image":
        path.write_text("<svg/>")
    elif how == "bomb":
        bomb(path, rows=9_000, columns=9_000)
    elif how == "announced bomb" and path.suffix == ".png":
        bomb(path, rows=2**31 - 1, columns=2**31 - 1)
    elif how == "announced bomb" and path.suffix == ".npy":
        head = "{'descr': '<i4', 'fortran_order': False, 'shape': (1000000, 1000000), }"
        head = head.ljust(117) + "\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
    elif how == "announced bomb":
        path.write_text(json.dumps([{"size": [10**6, 10**6], "counts": [10**12]}]))
    elif how == "loop":
        path.symlink_to(path.name)
    elif how == "folder":
        path.mkdir()
    elif how == "lossy":
        Image.new("L", (48, 32), 255).save(path, format="JPEG")
    elif how == "HEIC":
        path.with_suffix(".heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    elif how == "pointer":
        path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    elif how == "proportions":
        Image.new("RGBA", (48, 20)).save(path)
    elif how == "coarse":
        Image.new("L", (6, 4), 255).save(path)
    elif how == "sideways":
        Image.new("L", (32, 48), 255).save(path)
    elif how == "pickle":
        np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    elif how == "floats":
        np.save(path, np.full((32, 48), 0.5))
    elif how == "not UTF-8":
        path.write_bytes(b'[{"size": "\xff\xfe"}]')
    elif how == "deep":
        path.write_text("[" * 100_000)
    elif how == "sum":
        path.write_text(json.dumps([{"size": [32, 48], "counts": [7, 5]}]))
    elif how == "size":
        write_other_size(path)
    else:
        raise ValueError(how)


def harm_capture(folder: Path, reader: str, how: str) -> None:
    """Make the files of a capture say what cannot be."""
    from tests.capture import test_posed as posed

    photos = folder / ("train" if reader == "blender" else "images")
    if how == "no photos":
        for path in photos.iterdir():
            path.unlink()
        return
    if how == "one more":
        Image.new("RGB", (48, 32)).save(photos / "frame_91.png")
        return
    if reader == "colmap":
        model = folder / "sparse" / "0"
        for path in model.iterdir():
            path.unlink()
        model.rmdir()
        posed.write_colmap(folder, text=True)
        path = model / "images.txt"
        text = path.read_text()
        path.write_text(
            text + "1 2 3 what\n" if how == "text" else text.replace("frame_0", "../../frame_0")
        )
        return
    path = folder / ("transforms_train.json" if reader == "blender" else "transforms.json")
    record = json.loads(path.read_text())
    if how == "corner":
        record |= {"cx": 0.0, "cy": 0.0, "w": 48, "h": 32}
    elif how == "climbs":
        record["frames"][0]["file_path"] = "..\\..\\photo.png"
    elif how == "drive":
        record["frames"][0]["file_path"] = "D:\\photo.png"
    elif how == "strange list":
        record["train_filenames"] = ["elsewhere/frame_0.png"]
    elif how == "listed out":
        record["val_filenames"] = [frame["file_path"] for frame in record["frames"]]
    path.write_text(json.dumps(record))


def harm_splats(path: Path, how: str) -> Path:
    """Write a file of splats that is none, or one of another format; returns it."""
    from tests.formats.splats import make_table, write_ply

    table = make_table(columns=("x", "y", "z")) if how == "point cloud" else make_table()
    if how == "all NaN":
        table["opacity"] = np.nan
    write_ply(path, table)
    content = path.read_bytes()
    if how in ("empty", "truncated", "folder", "loop"):
        harm(path, how)
    elif how == "billion rows":
        path.write_bytes(content.replace(b"element vertex 5", b"element vertex 1000000000"))
    elif how == "mesh":
        path.write_bytes(content.replace(b"end_header", b"element face 0\nend_header"))
        path.write_bytes(path.read_bytes().replace(b"float opacity", b"float quality"))
    elif how == "compressed":
        path.write_bytes(content.replace(b"element vertex", b"element chunk 0\nelement vertex"))
        path.write_bytes(path.read_bytes().replace(b"float opacity", b"uint packed_position"))
    elif how == "text":
        path.write_text("no splats\n")
    elif how in ("checkpoint", "spz", "splat", "ksplat"):
        path.unlink()
        path = path.with_suffix({"checkpoint": ".pt"}.get(how, f".{how}"))
        path.write_bytes(b"PK\3\4" + bytes(60) if how == "checkpoint" else b"\x1f\x8b" + bytes(62))
    return path


def write_other_size(path: Path) -> None:
    if path.suffix == ".npy":
        np.save(path, np.ones((20, 47), int))
    elif path.suffix == ".json":
        path.write_text(json.dumps([{"size": [20, 47], "counts": [7, 933]}]))
    else:
        Image.fromarray(np.full((20, 47), 1, np.uint8)).save(path)


def make_masks(kind: str, folder: Path, names: list[str]) -> Path:
    """Write masks of every photo; returns a file of the last one."""
    folder.mkdir()
    labels = np.zeros((32, 48), np.uint8)
    labels[4:20, 6:30], labels[8:12, 10:20] = 1, 2
    path = folder
    for name in names:
        if kind == "folder of PNGs":
            (folder / name).mkdir()
            path = folder / name / "0.png"
            Image.fromarray((labels > 0).astype(np.uint8) * 255).save(path)
        elif kind == "label picture":
            path = folder / f"{name}.png"
            Image.fromarray(labels).save(path)
        elif kind == "array":
            path = folder / f"{name}.npy"
            np.save(path, labels)
        else:
            path = folder / f"{name}.json"
            runs = np.diff(np.flatnonzero(np.diff(np.pad((labels > 0).T.ravel(), 1))))
            before = int(np.flatnonzero((labels > 0).T.ravel())[0])
            counts = [before, *runs.tolist()]
            counts.append(labels.size - sum(counts))
            path.with_name(path.name).write_text(json.dumps([{"size": [32, 48], "counts": counts}]))
    return path


def cases() -> list[tuple[str, str, str]]:
    """What is harmed: reader or format of masks, and how."""
    found = [("capture", reader, how) for reader in READERS for how in PHOTO_HARM]
    # Photos that are not there are skipped and counted.
    found = [each for each in found if each[1] not in SKIPPING or each[2] != "folder"]
    found += [("splats", "blender", how) for how in SPLATS_HARM]
    found += [("files", reader, how) for reader in CAPTURE_HARM for how in CAPTURE_HARM[reader]]
    return found + [("masks", kind, how) for kind in MASKS for how in MASK_HARM[kind]]


def prepare(root: Path, case: tuple[str, str, str]) -> list[str]:
    """Write the harmed files of a case; returns the command that meets them."""
    what, kind, how = case
    folder = root / "_".join(case).replace(" ", "-")
    folder.mkdir()
    command = ["train", "--data", str(folder / "in"), "--output", str(folder / "out")]
    (folder / "in").mkdir()
    photos = make_capture("nerfstudio" if what == "masks" else kind, folder / "in")
    if what == "files":
        harm_capture(folder / "in", kind, how)
        return [*command, "--masks", "classical"]
    if what == "splats":
        splats = harm_splats(folder / "in" / "splats.ply", how)
        return [*command, "--masks", "classical", "--gaussians", str(splats)]
    if what == "capture":
        harm(photos[-1], how)
        return [*command, "--masks", "classical"]
    masks = make_masks(kind, folder / "masks", [path.stem for path in photos])
    harm(masks, how)
    return [*command, "--masks", str(folder / "masks")]


class NoTorch:
    """Refuses to import torch."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "torch":
            raise ModuleNotFoundError("torch is imported before the answer")


def answer_all(root: Path) -> None:
    """Run every command without torch and print, as JSON, what came of it."""
    jobs = [(case, prepare(root, case)) for case in cases()]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("torch", "splat_uff")]:
        del sys.modules[name]
    sys.meta_path.insert(0, NoTorch())
    import contextlib
    import io

    from splat_uff.cli import main

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for case, command in jobs:
        said, code = io.StringIO(), 0
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            try:
                main(command)
            except SystemExit as stopped:
                code = stopped.code
            except BaseException as error:
                code = f"{type(error).__name__}: {error}"
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        output = Path(command[command.index("--output") + 1])
        record = {
            "case": case,
            "code": code,
            "said": said.getvalue(),
            "grown": (now - most) * 1024,
            "written": sorted(path.name for path in output.parent.iterdir()),
        }
        most = now
        sys.stdout.write(json.dumps(record) + "\n")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    command = [sys.executable, "-m", "tests.test_hostile", str(root)]
    place = Path(__file__).parents[1]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=place, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    records = map(json.loads, done.stdout.splitlines())
    return {tuple(record["case"]): record for record in records}


@pytest.mark.parametrize("case", cases(), ids=" ".join)
def test_a_harmed_file_is_answered_in_one_line(answers, case):
    answer = answers[case]
    assert answer["code"] == 2, answer
    errors = [line for line in answer["said"].splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, answer
    assert answer["said"].splitlines()[-1] == errors[0]
    assert "out" not in answer["written"]
    assert set(answer["written"]) <= {"in", "masks"}
    assert answer["grown"] < MOST_BYTES


if __name__ == "__main__":
    answer_all(Path(sys.argv[1]))
