"""Scenes by name: a folder of the user, or a built-in scene that is made on first use."""

import ast
import difflib
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import platformdirs
import tifffile
from jaxtyping import Int

import splat_uff
from splat_uff.capture.images import area_resize
from splat_uff.capture.records import GroundTruth
from splat_uff.evaluate.covering import masks_covering
from splat_uff.evaluate.levels import LevelScores
from splat_uff.masks.folders import write_masks
from splat_uff.masks.records import MaskSet
from splat_uff.scenes.catalogue import RECIPES
from splat_uff.scenes.simulated import simulate_masks
from splat_uff.scenes.write import write_scene
from splat_uff.system.errors import InputError, argument, worded
from splat_uff.system.files import replacing_folder, visible_entries, visible_files, write_json
from splat_uff.system.progress import notice

DATA_VARIABLE = "SPLAT_UFF_DATA"
"""Environment variable used when `--data-root` is not given."""
GENERATOR_SEED = 0
"""Seed of the generator; fixed, so that every version of a scene is the same everywhere."""
GENERATOR_FILES = ("scenes", "masks/tree.py", "geometry/axes.py", "geometry/cameras.py")
"""Source files that determine what a built-in scene looks like."""


@dataclass(frozen=True)
class SceneFolder:
    """Folder of a scene, and its origin."""

    folder: Path
    origin: str
    """Notice for the user: the scene and its origin, in one line."""


@dataclass(frozen=True)
class BuiltinScene:
    """Entry in the list of built-in scenes."""

    name: str
    description: str
    num_train: int
    num_val: int
    photo_size: int
    folder: Path
    """Folder that holds the scene, or will once it is made."""
    made: bool


def find_scene(name: str, *, data_root: Path | None = None) -> SceneFolder:
    """Find the folder of a scene; a built-in scene is made first if necessary.

    Args:
        name: Name of a folder under `data_root`, or else of a built-in scene.
        data_root: Folder of scenes; `$SPLAT_UFF_DATA` if None.

    Raises:
        InputError: If there is no such scene, the name is a path, or `data_root` is not a folder.
    """
    root = data_root_folder(data_root)
    if name in ("", ".", "..") or "/" in name or "\\" in name:
        raise InputError(
            f'scene "{name}" is a path; '
            + worded(
                "pass a name, or open the folder with read_capture.",
                command="--scene takes a name, use --data for a folder.",
            )
        )
    if root is not None and (root / name).is_dir():
        return SceneFolder(root / name, f"scene {name}: {root / name}")
    if name not in RECIPES:
        raise InputError(_unknown_scene(name, root))
    folder = builtin_folder(name)
    if not folder.is_dir():
        _make_scene(name, folder)
    return SceneFolder(folder, f"scene {name}: built in, simulated masks, kept in {folder}")


def data_root_folder(given: Path | None) -> Path | None:
    """Folder of the user's scenes, if there is one.

    Raises:
        InputError: If the path is not a folder.
    """
    variable = os.environ.get(DATA_VARIABLE)
    if given is None and not variable:
        return None
    if given is not None:
        root, source = given, argument("data_root")
    else:
        root, source = Path(variable or ""), f"${DATA_VARIABLE}"
    if not root.is_dir():
        raise InputError(f"{source} is {root}, which is no folder; pass one that holds scenes.")
    return root


def is_users_own(name: str, *, data_root: Path | None = None) -> bool:
    """Whether a scene is one of the user's folders, to which our presets do not apply.

    Raises:
        InputError: If `data_root` is not a folder.
    """
    root = data_root_folder(data_root)
    return root is not None and (root / name).is_dir()


def list_scenes() -> list[BuiltinScene]:
    """List the built-in scenes, beginning with the one to try first."""
    return [
        BuiltinScene(
            name,
            recipe.description,
            recipe.num_train,
            recipe.num_val,
            recipe.photo_size,
            builtin_folder(name),
            builtin_folder(name).is_dir(),
        )
        for name, recipe in RECIPES.items()
    ]


def builtin_folder(name: str) -> Path:
    """Folder of a built-in scene in the user's cache; each version of the generator has its own."""
    package = Path(splat_uff.__file__).parent
    recipe = RECIPES[name]
    # Changing or adding one scene must not cause all the others to be made again.
    module = recipe.build.__module__.rpartition(".")[2]
    other = {each.build.__module__.rpartition(".")[2] for each in RECIPES.values()} - {module}
    digest = hashlib.sha256(repr(recipe.sizes).encode())
    for source in GENERATOR_FILES:
        path = package / source
        for file in [path] if path.is_file() else visible_files(path, (".py",)):
            if file.stem.split("_")[0] not in other | {"builtin", "catalogue"}:
                digest.update(_code_of(file).encode())
    cache = Path(platformdirs.user_cache_dir("splat-uff"))
    return cache / "scenes" / f"{name}-{digest.hexdigest()[:8]}"


def _code_of(path: Path) -> str:
    """Code of a source file, without comments, docstrings, imports and layout."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [
                each
                for each in body
                if not isinstance(each, ast.Import | ast.ImportFrom)
                and not (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
            ]
            node.body = kept or [ast.Pass()]  # pyright: ignore[reportAttributeAccessIssue]
    return ast.unparse(tree)


def _make_scene(name: str, folder: Path) -> None:
    """Write a built-in scene with its masks; an interruption leaves nothing behind."""
    recipe = RECIPES[name]
    notice(f"making the built-in scene {name} ({recipe.description}); this happens once.")
    val_masks: dict[str, MaskSet] = {}
    with replacing_folder(folder) as temporary:

        def add_masks(
            split: str, view: str, objects: Int[np.ndarray, "H W"], groups: Int[np.ndarray, "H W"]
        ) -> None:
            seeds = [GENERATOR_SEED, int(split == "val"), int(view.removeprefix("r_"))]
            masks = simulate_masks(objects, groups, rng=np.random.default_rng(seeds))
            write_masks(temporary, split, view, masks)
            if split == "val":
                val_masks[view] = masks

        rng = np.random.default_rng(GENERATOR_SEED)
        write_scene(temporary, name, recipe, rng=rng, on_ids=add_masks)
        scores = _score_masks(temporary, val_masks, recipe.truth_size)
        record = json.loads((temporary / "scene.json").read_text(encoding="utf-8"))
        record |= {"masks": "simulated", "masks_nc": scores.record()}
        write_json(temporary / "scene.json", record)
    notice(
        f"simulated masks of {name}: NC {scores.mean:.3f} on the held-out views (objects "
        f"{scores.objects:.2f}, collections {scores.collections:.2f}, scene {scores.scene:.2f})."
    )


def _score_masks(folder: Path, masks: dict[str, MaskSet], size: int) -> LevelScores:
    """Score NC of the masks themselves, at the size of the ground truth."""
    views = sorted(masks)
    reduced = [
        MaskSet.of(
            np.stack([area_resize(mask.astype(np.float32), size, size) >= 0.5 for mask in bag])
        )
        for bag in (masks[view].unpack() for view in views)
    ]
    truths = [
        GroundTruth(*(_read_ids(folder, view, kind) for kind in ("objects", "collections")))
        for view in views
    ]
    return masks_covering(reduced, truths, rng=np.random.default_rng(GENERATOR_SEED))


def _read_ids(folder: Path, view: str, kind: str) -> Int[np.ndarray, "H W"]:
    image = tifffile.imread(folder / "gt_seg" / "val" / f"{view}_seg_{kind}.tif")
    return image[..., 0].astype(np.int32)


def _unknown_scene(name: str, root: Path | None) -> str:
    entries = visible_entries(root) if root is not None else []
    known = [*RECIPES, *(path.name for path in entries if path.is_dir())]
    near = difflib.get_close_matches(name, known, n=3) or known
    place = f"in {root} or " if root is not None else ""
    return f'no scene "{name}" {place}built in; did you mean {" or ".join(near)}?'
