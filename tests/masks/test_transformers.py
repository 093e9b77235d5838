"""Models of transformers answer clicks as their own classes do, and bad folders give one line."""

import json
import os
import pickle
import shutil
import sys

import numpy as np
import pytest
import torch

from splat_uff.masks import transformers as ours
from splat_uff.masks.transformers import FAMILIES, load_transformers
from splat_uff.system.errors import InputError, on_command_line
from tests.masks.small_models import MODELS, processor_of, save_small

NEEDED = 'pip install "splat-uff[transformers]"'
pytest.importorskip("torchvision", reason=NEEDED)
pytest.importorskip("transformers", reason=NEEDED)
CONFIG, PREPARATION = "config.json", "preprocessor_config.json"
SIZES = [(40, 70), (90, 33), (64, 64), (5, 300)]
ROUNDING = {"rtol": 1e-5, "atol": 2e-5}
"""Of the decoder, between one call for many clicks and many calls."""


def photo(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def clicks(height, width):
    """Corners, the middle of sides, and points within."""
    inside = np.random.default_rng(1).random((4, 2))
    return np.concatenate([[[0, 0], [1, 1], [0, 1], [0.5, 1]], inside]) * [width, height]


@pytest.fixture(scope="module")
def folder_of(tmp_path_factory):
    """Folder of a small model of each kind, made when first asked for."""
    made = {}

    def folder(kind):
        if kind == "edgetam":
            pytest.importorskip("timm", reason=NEEDED)
        if kind not in made:
            made[kind] = save_small(kind, tmp_path_factory.mktemp("models") / kind)
        return made[kind]

    return folder


@pytest.fixture(scope="module", params=MODELS)
def loaded(request, folder_of):
    folder = folder_of(request.param)
    return request.param, folder, load_transformers(str(folder))


def test_every_type_of_model_is_tried():
    assert set(MODELS) | {"edgetam_video"} == set(FAMILIES)


def as_model(key):
    """Name in the model of what SAM 3's files have below their names for parts."""
    key = key.removeprefix("tracker_model.").replace("tracker_neck.", "vision_encoder.neck.")
    return key.replace("detector_model.vision_encoder.backbone.", "vision_encoder.backbone.")


def test_load_transformers_takes_each_weight_from_the_file(loaded):
    kind, folder, segmenter = loaded
    from safetensors.torch import load_file

    saved = {as_model(key): w for key, w in load_file(folder / "model.safetensors").items()}
    for name, weight in segmenter.model.named_parameters():
        assert weight.dtype == torch.float32
        assert not weight.requires_grad
        torch.testing.assert_close(weight, saved[name])
    assert not segmenter.model.training
    assert segmenter.fingerprint.startswith(type(segmenter.model).__name__)
    assert type(segmenter.model).__name__ == FAMILIES[kind].model


@pytest.mark.parametrize("size", SIZES)
def test_answer_is_that_of_the_model_with_its_own_processor(loaded, size):
    kind, _, segmenter = loaded
    image, points = photo(*size), clicks(*size)
    answers = segmenter.encode(image).answer(points)
    inputs = processor_of(kind)(
        images=image,
        input_points=[[[point] for point in points.tolist()]],
        input_labels=[[[1]] * len(points)],
        input_data_format="channels_last",
        return_tensors="pt",
    )
    inputs.pop("original_sizes")
    inputs.pop("reshaped_input_sizes", None)
    with torch.no_grad():
        expected = segmenter.model(**inputs, multimask_output=True)
    torch.testing.assert_close(answers.logits, expected.pred_masks[0], **ROUNDING)
    torch.testing.assert_close(answers.quality, expected.iou_scores[0], **ROUNDING)
    assert answers.logits.shape == (len(points), 3, 16, 16)
    assert answers.logits.std(dim=0).max() > 100 * ROUNDING["atol"]  # Clicks make a difference.


def test_answer_gives_many_clicks_what_it_gives_each(loaded):
    _, _, segmenter = loaded
    encoded, points = segmenter.encode(photo(40, 70)), clicks(40, 70)
    together = encoded.answer(points)
    for index in range(0, len(points), 2):
        alone = encoded.answer(points[index : index + 1])
        torch.testing.assert_close(together.logits[index], alone.logits[0], **ROUNDING)
        torch.testing.assert_close(together.quality[index], alone.quality[0], **ROUNDING)
    none = encoded.answer(np.zeros((0, 2)))
    assert none.logits.shape == (0, 3, 16, 16)
    assert none.quality.shape == (0, 3)


@pytest.mark.parametrize("size", SIZES)
def test_upsample_is_that_of_the_processor_in_parts_of_any_size(loaded, size, monkeypatch):
    kind, _, segmenter = loaded
    encoded = segmenter.encode(photo(*size))
    logits = encoded.answer(clicks(*size)).logits.flatten(0, 1)
    images = processor_of(kind).image_processor
    prepared = images(photo(*size), input_data_format="channels_last", return_tensors="pt")
    sizes = [prepared["original_sizes"]]
    if kind in ("sam", "sam_hq"):
        sizes.append(prepared["reshaped_input_sizes"])
    expected = images.post_process_masks([logits[None]], *sizes, binarize=False)[0][0]
    assert expected.shape == (24, *size)
    for most in (1, 7 * 5 * 300, 1 << 24):
        monkeypatch.setattr(ours, "UPSAMPLED", most)
        torch.testing.assert_close(encoded.upsample(logits), expected, rtol=0, atol=1e-6)
    assert encoded.upsample(logits[:0]).shape == (0, *size)


def test_a_model_loaded_again_answers_the_same_bits(loaded):
    _, folder, segmenter = loaded
    again = load_transformers(str(folder))
    points = clicks(40, 70)
    first = segmenter.encode(photo(40, 70)).answer(points)
    second = again.encode(photo(40, 70)).answer(points)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.quality, second.quality)
    assert again.fingerprint == segmenter.fingerprint


def test_fingerprints_differ_by_weights_and_by_how_photos_are_prepared(folder_of, tmp_path):
    known = {load_transformers(str(folder_of("sam2"))).fingerprint}
    known.add(load_transformers(str(save_small("sam2", tmp_path / "b", seed=1))).fingerprint)
    folder = changed(
        folder_of("sam2"), tmp_path / "c", "preprocessor_config.json", image_mean=[0] * 3
    )
    other = load_transformers(str(folder))
    known.add(other.fingerprint)
    assert len(known) == 3
    assert list(other.processor.image_mean) == [0] * 3


def test_weights_over_several_files_are_one_model(folder_of, tmp_path):
    parts = save_small("sam2", tmp_path / "parts", max_shard_size="100KB")
    assert not (parts / "model.safetensors").exists()
    assert len(list(parts.glob("*.safetensors"))) > 2
    whole = load_transformers(str(folder_of("sam2"))).encode(photo(40, 70))
    split = load_transformers(str(parts)).encode(photo(40, 70))
    points = clicks(40, 70)
    assert torch.equal(whole.answer(points).logits, split.answer(points).logits)
    next(iter(sorted(parts.glob("*.safetensors")))).unlink()
    with pytest.raises(InputError, match=r"lacks model-00001-of-.*a part of the weights"):
        load_transformers(str(parts))


def test_preparation_may_be_part_of_the_processor_s_file(folder_of, tmp_path):
    shutil.copytree(folder_of("sam2"), tmp_path / "sam2")
    record = json.loads((tmp_path / "sam2" / PREPARATION).read_text())
    size = {**record["size"], "longest_edge": None}
    whole = {"image_processor": {**record, "size": size, "image_std": [1, 2, 3]}}
    (tmp_path / "sam2" / "processor_config.json").write_text(json.dumps(whole))
    (tmp_path / "sam2" / PREPARATION).unlink()
    segmenter = load_transformers(str(tmp_path / "sam2"))
    assert list(segmenter.processor.image_std) == [1, 2, 3]


def test_settings_that_would_run_other_code_are_ignored(folder_of, tmp_path):
    folder = changed(
        folder_of("sam"),
        tmp_path / "sam",
        "config.json",
        auto_map={"AutoModel": "evil.Model"},
        attn_implementation="nobody/kernels",
        _attn_implementation="nobody/kernels",
        quantization_config={"quant_method": "awq"},
        dtype="bfloat16",
    )
    (folder / "evil.py").write_text("raise SystemExit('run')")
    segmenter = load_transformers(str(folder))
    assert next(segmenter.model.parameters()).dtype == torch.float32


def changed(folder, target, name, **settings):
    """Copy of a folder with other settings in one of its JSON files."""
    shutil.copytree(folder, target)
    record = json.loads((target / name).read_text())
    (target / name).write_text(json.dumps({**record, **settings}))
    return target


class Bomb:
    """What runs a program when it is unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def pickled(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))


def cut(folder):
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) // 2])


def pointer(folder):
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")


def long_header(folder):
    (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")


def one_less(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["no_memory_embedding"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def other_shape(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    name = "mask_decoder.iou_token.weight"
    weights[name] = torch.cat([weights[name], weights[name]])
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def elsewhere(folder):
    (folder / "model.safetensors").rename(folder.parent / "out.safetensors")
    listed = json.dumps({"weight_map": {"a": "../out.safetensors"}})
    (folder / "model.safetensors.index.json").write_text(listed)


def without(name):
    return lambda folder: (folder / name).unlink()


def setting(name, *keys, value):
    """Change one setting of a JSON file, at the end of `keys`."""

    def change(folder):
        record = json.loads((folder / name).read_text())
        inner = record
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        (folder / name).write_text(json.dumps(record))

    return change


def text(name, content):
    return lambda folder: (folder / name).write_text(content)


BACKBONE = ("vision_config", "backbone_config")
DAMAGES = [
    (setting(PREPARATION, "size", value=64), "prepares photos to the size 64, but its model"),
    (pickled, "pickled weights only, which can run programs; .* as model.safetensors"),
    (cut, "model.safetensors is no file of safetensors"),
    (pointer, "model.safetensors is no file of safetensors"),
    (long_header, "model.safetensors is no file of safetensors"),
    (one_less, "1 tensors are missing, such as no_memory_embedding"),
    (other_shape, "does not hold the config and weights of a SAM 2 and 2.1 model"),
    (elsewhere, "does not name files of its own folder"),
    (without("model.safetensors"), "has no model.safetensors; download it"),
    (without(CONFIG), "has no config.json; download it"),
    (without(PREPARATION), "has no preprocessor_config.json; download it"),
    (text(CONFIG, "{"), "config.json is no JSON object of settings"),
    (text(CONFIG, "[" * 5000 + "]" * 5000), "config.json is no JSON object of settings"),
    (text(CONFIG, "[]"), "config.json is no JSON object of settings .no object"),
    (text(CONFIG, "{}"), "config.json has no model_type"),
    (text(CONFIG, '{"model_type": 3}'), "config.json has no model_type"),
    (text("adapter_config.json", "{}"), "holds an adapter, not a model"),
    (
        setting(CONFIG, "model_type", value="bert"),
        "a model of type bert, which does not answer clicks; pass one of SAM, SAM-HQ, SAM 2 and "
        "2.1, EdgeTAM, SAM 3",
    ),
    (setting(CONFIG, "model_type", value="sam"), "has a part of type sam2_"),
    (setting(CONFIG, "vision_config", "model_type", value="llama"), "has a part of type llama"),
    (setting(CONFIG, "mask_decoder_config", value="a"), "does not hold the config and weights"),
    (setting(CONFIG, "mask_decoder_config", "mlp_dim", value=1 << 16), "where the config asks for"),
    (setting(CONFIG, "mask_decoder_config", "mlp_dim", value=1 << 40), "mlp_dim = 1099511627776"),
    (setting(CONFIG, "mask_decoder_config", "num_hidden_layers", value=50000), "= 50000; expected"),
    (setting(CONFIG, "mask_decoder_config", "num_attention_heads", value=0), "does not hold"),
    (setting(CONFIG, "num_labels", value=10**9), "num_labels = 1000000000; expected at most 65536"),
    (setting(CONFIG, *BACKBONE, "blocks_per_stage", value=[9999] * 4), "= 39996; expected"),
    (setting(CONFIG, "prompt_encoder_config", "image_size", value=60000), "= 60000; expected"),
    (setting(CONFIG, "prompt_encoder_config", "image_size", value=-1), "-1 pixels a side"),
    (setting(CONFIG, *BACKBONE, "image_size", value=[64, 5000]), "image_size = 5000; expected"),
    (setting(PREPARATION, "size", value={"height": 9, "width": 9}), "its model expects"),
    (setting(PREPARATION, "image_std", value=[1, 0, 1]), "image_std is 0"),
    (setting(PREPARATION, "image_mean", value=["a"]), "how to prepare photos"),
    (setting(PREPARATION, "image_mean", value=[1, 2]), "image_mean is .1, 2."),
    (setting(PREPARATION, "rescale_factor", value={}), "how to prepare photos"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "expected"), DAMAGES)
def test_a_damaged_folder_gives_one_line(folder_of, tmp_path, monkeypatch, damage, expected):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "model"
    shutil.copytree(folder_of("sam2"), folder)
    damage(folder)
    with pytest.raises(InputError, match=expected) as caught:
        load_transformers(str(folder))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "exploded").exists()


def test_a_config_that_makes_no_sense_is_said_when_a_photo_comes(folder_of, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(folder_of("sam2"), folder)
    setting(CONFIG, "vision_config", "backbone_feature_sizes", value=[[3, 3]] * 3)(folder)
    segmenter = load_transformers(str(folder))
    with pytest.raises(InputError, match="the model cannot look at photos as its config says"):
        segmenter.encode(photo(40, 70))


@pytest.mark.parametrize(
    "backbone",
    [
        {"architecture": "hf-hub:nobody/evil"},
        {"architecture": "repvit_m1", "model_args": {"checkpoint_path": "evil.pth"}},
        {"architecture": 3},
        {},
    ],
)
def test_a_backbone_of_edgetam_loads_nothing(folder_of, tmp_path, backbone):
    folder = tmp_path / "model"
    shutil.copytree(folder_of("sam2"), folder)
    backbone = {"model_type": "timm_wrapper", **backbone}
    record = {"model_type": "edgetam", "vision_config": {"backbone_config": backbone}}
    (folder / CONFIG).write_text(json.dumps(record))
    with pytest.raises(InputError, match="does not name a plain model of timm"):
        load_transformers(str(folder))


def test_what_is_not_installed_is_named(folder_of, tmp_path, monkeypatch):
    folder = tmp_path / "model"
    shutil.copytree(folder_of("sam2"), folder)
    monkeypatch.setitem(sys.modules, "timm", None)
    backbone = {"model_type": "timm_wrapper", "architecture": "repvit_m1"}
    record = {"model_type": "edgetam", "vision_config": {"backbone_config": backbone}}
    (folder / CONFIG).write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"EdgeTAM needs timm.*splat-uff\[transformers\]"):
        load_transformers(str(folder))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(InputError, match=r'pip install "splat-uff\[transformers\]"'):
        load_transformers(str(folder))


def test_a_name_of_the_hub_is_looked_up_in_the_cache_first(folder_of, monkeypatch):
    import huggingface_hub

    asked = []

    def download(name, *, allow_patterns, local_files_only):
        asked.append((name, local_files_only))
        assert not any(pattern.endswith(("bin", "py", "*")) for pattern in allow_patterns)
        if local_files_only and len(asked) > 1:
            raise FileNotFoundError("nothing cached")
        return str(folder_of("sam2"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    load_transformers("somebody/small-sam2")
    assert asked == [("somebody/small-sam2", True)]
    load_transformers("somebody/small-sam2")
    assert asked[1:] == [("somebody/small-sam2", True), ("somebody/small-sam2", False)]


def test_without_network_one_line_says_what_to_download(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r'snapshot_download\("somebody/sam", local_dir=DIR\)'):
        load_transformers("somebody/sam")
    with (
        on_command_line(),
        pytest.raises(InputError, match="hf download somebody/sam --local-dir DIR, and pass DIR"),
    ):
        load_transformers("somebody/sam")
    with pytest.raises(InputError, match=r"no folder .*nothing; download.*facebook/sam2.1-hiera"):
        load_transformers(str(tmp_path / "nothing"))
