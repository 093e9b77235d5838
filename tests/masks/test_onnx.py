"""Models as ONNX files: the exports of known tools answer as the models themselves."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from splat_uff.masks.onnx import load_onnx
from splat_uff.masks.onnx_files import find_pair, read_signature
from splat_uff.masks.onnx_photo import DEVIATION, MEAN
from splat_uff.masks.segmenter import Encoded, Segmenter
from splat_uff.system.errors import InputError
from tests.baselines.test_prompts import small_sam  # noqa: F401

EXTRA = 'pip install "splat-uff[onnx]"'
onnx = pytest.importorskip("onnx", reason=EXTRA)
pytest.importorskip("onnxruntime", reason=EXTRA)
FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
SHAPES = [(48, 40), (30, 64), (64, 64), (100, 37)]
"""Heights and widths of photos: upright, wide, the model's own, and larger."""


def photo(shape, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 5, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((20, 20, 1), np.uint8))[: shape[0], : shape[1]]


def clicks(shape):
    """Points within a photo, at its corners and on its borders."""
    height, width = shape
    corners = [[0, 0], [width, 0], [0, height], [width, height], [width / 2, 0]]
    return np.array([*corners, [width / 3, height / 2]], float)


# Models through segment_anything and torch's exporter.


def export(module, args, path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of tracing, and of the exporter that needs no onnxscript.
        torch.onnx.export(module, args, path, opset_version=17, dynamo=False, **options)


def export_decoder(sam, path, single=False):
    """The decoder as segment_anything's scripts/export_onnx_model.py exports it."""
    from segment_anything.utils.onnx import SamOnnxModel

    inputs = {
        "image_embeddings": torch.randn(1, 32, 4, 4),
        "point_coords": torch.randint(0, 64, (1, 5, 2)).float(),
        "point_labels": torch.randint(0, 4, (1, 5)).float(),
        "mask_input": torch.randn(1, 1, 16, 16),
        "has_mask_input": torch.ones(1),
        "orig_im_size": torch.tensor([150.0, 225.0]),
    }
    several = {name: {1: "num_points"} for name in ("point_coords", "point_labels")}
    export(
        *(SamOnnxModel(sam, return_single_mask=single), tuple(inputs.values()), path),
        input_names=list(inputs), dynamic_axes=several,
        output_names=["masks", "iou_predictions", "low_res_masks"],
    )  # fmt: skip


class WithPreprocessing(torch.nn.Module):
    """Encoder that takes colours in [0, 255], as those of samexporter can."""

    def __init__(self, sam):
        super().__init__()
        self.sam = sam

    def forward(self, image):
        values = ((image - torch.tensor(MEAN)) / torch.tensor(DEVIATION)).permute(2, 0, 1)[None]
        height, width = values.shape[-2:]
        return self.sam.image_encoder(
            torch.nn.functional.pad(values, (0, 64 - width, 0, 64 - height))
        )


@pytest.fixture(scope="module")
def exported(small_sam, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("sam")
    names = {"input_names": ["x"], "output_names": ["image_embeddings"]}
    export(small_sam.image_encoder, (torch.randn(1, 3, 64, 64),), folder / "one.onnx", **names)
    export_decoder(small_sam, folder / "two.onnx")
    return folder


@pytest.fixture(scope="module")
def inside(small_sam, exported, tmp_path_factory):  # noqa: F811
    folder = tmp_path_factory.mktemp("inside")
    export(
        *(WithPreprocessing(small_sam), (torch.rand(64, 64, 3) * 255,), folder / "encoder.onnx"),
        input_names=["input_image"], output_names=["image_embeddings"],
        dynamic_axes={"input_image": {0: "image_height", 1: "image_width"}},
    )  # fmt: skip
    (folder / "decoder.onnx").write_bytes((exported / "two.onnx").read_bytes())
    return folder


def torch_answers(sam, image, points):
    """Logits at both resolutions and qualities, through segment_anything."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(sam)
    predictor.set_image(image)
    coords = predictor.transform.apply_coords(points, image.shape[:2])
    masks, quality, low = predictor.predict_torch(
        torch.as_tensor(coords, dtype=torch.float)[:, None],
        torch.ones((len(points), 1), dtype=torch.int),
        multimask_output=True,
        return_logits=True,
    )
    return masks, quality, low


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("which", ["exported", "inside"])
def test_sam_answers_as_in_torch(small_sam, which, shape, request):  # noqa: F811
    image, points = photo(shape), clicks(shape)
    model: Segmenter = load_onnx(request.getfixturevalue(which))
    assert model.threshold == small_sam.mask_threshold == 0
    encoded: Encoded = model.encode(image)
    answers = encoded.answer(points)
    masks, quality, low = torch_answers(small_sam, image, points)
    assert answers.logits.shape == (len(points), 3, 16, 16)
    torch.testing.assert_close(answers.logits, low, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(answers.quality, quality, atol=2e-5, rtol=1e-4)
    # Points matter: the test would not see it if all were answered alike.
    assert (answers.logits[0] - answers.logits[5]).abs().max() > 5e-3
    up = encoded.upsample(answers.logits.flatten(0, 1))
    torch.testing.assert_close(up, masks.flatten(0, 1), atol=2e-5, rtol=1e-4)


def test_a_decoder_of_the_best_mask_returns_one(small_sam, exported, tmp_path):  # noqa: F811
    (tmp_path / "e.onnx").write_bytes((exported / "one.onnx").read_bytes())
    export_decoder(small_sam, tmp_path / "d.onnx", single=True)
    image, points = photo((48, 40)), clicks((48, 40))
    answers = load_onnx(tmp_path).encode(image).answer(points)
    _, quality, low = torch_answers(small_sam, image, points)
    assert answers.logits.shape == (len(points), 1, 16, 16)
    same = (answers.logits - low).abs().amax(dim=(2, 3)) < 1e-4
    assert same.any(dim=1).all()
    torch.testing.assert_close(answers.quality[:, 0], quality.max(dim=1)[0], atol=2e-5, rtol=1e-4)


def test_no_clicks_have_no_answers_and_any_file_stands_for_both(exported):
    image = photo((48, 40))
    whole, first, second = (load_onnx(exported / name) for name in ("", "one.onnx", "two.onnx"))
    assert whole.fingerprint == first.fingerprint == second.fingerprint
    none = whole.encode(image).answer(np.zeros((0, 2)))
    assert none.logits.shape == (0, 3, 16, 16)
    assert none.quality.shape == (0, 3)
    points = clicks((48, 40))
    a, b = (each.encode(image).answer(points) for each in (whole, second))
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.quality, b.quality)


# Models with formulas: the signatures of SAM 2.


def value(name, shape, kind=FLOAT):
    return onnx.helper.make_tensor_value_info(name, kind, shape)


def constant(name, values, kind=np.float32):
    return onnx.numpy_helper.from_array(np.asarray(values, kind), name)


def save(path, nodes, inputs, outputs, weights=()):
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(kind, given, made, **more) for kind, given, made, more in nodes],
        *("graph", inputs, outputs, list(weights)),
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)


NAMES = {
    "samexporter": ("image", "image_embed", "high_res_feats_0", "high_res_feats_1"),
    "osam": ("input", "image_embeddings", "high_res_features1", "high_res_features2"),
}


def write_sam2(folder, *, tool="samexporter", batch="num_labels", true_batch=True, side=32):
    """A model whose embedding is the photo at a quarter of its size.

    Mask m of a click on (x, y) is embedding + fine / 10 + middle / 100 + x + 100 y + m, and its
    quality (x + y + m) / 1000; fine and middle are embeddings times 2 and 3.
    """
    image, embed, fine, middle = NAMES[tool]
    small = side // 4
    pool = {"kernel_shape": [4, 4], "strides": [4, 4]}
    save(
        folder / "model.encoder.onnx",
        [
            ("AveragePool", [image], ["pooled"], pool),
            ("ReduceMean", ["pooled"], [embed], {"axes": [1], "keepdims": 1}),
            ("Mul", [embed, "two"], [fine], {}),
            ("Mul", [embed, "three"], [middle], {}),
        ],
        [value(image, [1, 3, side, side])],
        [value(name, [1, 1, small, small]) for name in (fine, middle, embed)],
        [constant("two", 2), constant("three", 3)],
    )
    named = tool == "samexporter"
    out = "masks" if named else "low_res_masks"
    nodes = [
        ("Mul", [fine, "tenth"], ["a"], {}),
        ("Mul", [middle, "hundredth"], ["b"], {}),
        ("Add", [embed, "a"], ["c"], {}),
        ("Add", ["c", "b"], ["base"], {}),
        ("Mul", ["point_coords", "weights"], ["weighted"], {}),
        ("ReduceSum", ["weighted", "axes"], ["place"], {"keepdims": 1}),  # P 1 1.
        ("ReduceSum", ["point_coords", "axes"], ["plain"], {"keepdims": 0}),  # P 1.
        ("Reshape", ["place", "square"], ["shift"], {}),
        ("Add", ["shift", "numbers"], ["shifts"], {}),  # P 3 1 1.
        ("Add", ["base", "shifts"], ["alone"], {}),
        ("ReduceMax", ["mask_input"], ["before"], {"keepdims": 0}),
        ("ReduceMax", ["has_mask_input"], ["has"], {"keepdims": 0}),
        ("Mul", ["before", "has"], ["nothing"], {}),
        ("Add", ["alone", "nothing"], ["each"], {}),
        ("Add", ["plain", "flat"], ["sums"], {}),
        ("Mul", ["sums", "labelled"], ["signed"], {}),
        ("Div", ["signed", "thousand"], ["iou_predictions"], {}),
        ("ReduceMax", ["point_labels"], ["labelled"], {"keepdims": 0}),
    ]
    nodes.insert(14, nodes.pop())
    if true_batch:
        nodes.append(("Identity", ["each"], [out], {}))
    else:  # All are answered as the first.
        nodes.append(("ReduceMax", ["each"], ["top"], {"axes": [0], "keepdims": 1}))
        nodes += [("Sub", ["each", "each"], ["zero"], {}), ("Add", ["top", "zero"], [out], {})]
    inputs = [
        *(value(name, [1, 1, small, small]) for name in (embed, fine, middle)),
        value("point_coords", [batch, "num_points", 2]),
        value("point_labels", [batch, "num_points"]),
        value("mask_input", [batch, 1, small, small]),
        value("has_mask_input", [1]),
    ]
    outputs = [value("iou_predictions", None), value(out, None)]
    if not named:
        inputs.append(value("orig_im_size", [2], INT64))
        nodes += [
            ("Shape", [out], ["shape"], {}),
            ("Slice", ["shape", "start", "end"], ["two_axes"], {}),
            ("Concat", ["two_axes", "orig_im_size"], ["full"], {"axis": 0}),
            ("Resize", [out, "", "", "full"], ["masks"], {"mode": "linear"}),
        ]
        outputs.append(value("masks", None))
    save(
        *(folder / "model.decoder.onnx", nodes, inputs, outputs),
        [
            constant("tenth", 0.1), constant("hundredth", 0.01), constant("weights", [1, 100]),
            constant("axes", [2], np.int64), constant("square", [-1, 1, 1, 1], np.int64),
            constant("numbers", np.arange(3).reshape(1, 3, 1, 1)),
            constant("flat", np.arange(3)[None]), constant("thousand", 1000),
            constant("start", [0], np.int64), constant("end", [2], np.int64),
        ],
    )  # fmt: skip


def expected_sam2(image, points, side=32):
    """The formula of `write_sam2`, with a photo normalised as SAM 2 states it."""
    from torchvision.transforms import Normalize, Resize

    values = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    values = Resize((side, side))(values)
    values = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))(values)
    embed = torch.nn.functional.avg_pool2d(values[None], 4).mean(dim=1)[0]
    base = embed * (1 + 0.2 + 0.03)
    height, width = image.shape[:2]
    x, y = torch.from_numpy(points * [side / width, side / height]).T
    numbers = torch.arange(3)
    shifts = (x + 100 * y)[:, None] + numbers
    quality = ((x + y)[:, None] + numbers) / 1000
    return (base + shifts[..., None, None]).float(), quality.float()


class Counted:
    """A session that notes how many clicks it gets at a time."""

    def __init__(self, session):
        self.session, self.batches, self.feeds = session, [], []

    def run(self, wanted, given):
        self.batches.append(len(given["point_coords"]))
        self.feeds.append(given)
        return self.session.run(wanted, given)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("tool", list(NAMES))
def test_sam2_answers_by_its_formula(tool, shape, tmp_path):
    write_sam2(tmp_path, tool=tool)
    image, points = photo(shape), clicks(shape)
    encoded = load_onnx(tmp_path).encode(image)
    answers = encoded.answer(points)
    logits, quality = expected_sam2(image, points)
    torch.testing.assert_close(answers.logits, logits, atol=2e-3, rtol=1e-5)
    torch.testing.assert_close(answers.quality, quality)
    up = encoded.upsample(answers.logits[0])
    full = interpolate(answers.logits[:1], shape, mode="bilinear", align_corners=False)[0]
    assert up.shape == (3, *shape)
    torch.testing.assert_close(up, full)


@pytest.mark.parametrize(
    ("batch", "true_batch", "batches"),
    [
        ("num_labels", True, [1, 1, 2, 64, 6]),
        ("num_labels", False, [1, 1, 2, *[1] * 70]),
        (1, True, [1] * 70),
    ],
)
def test_clicks_go_in_batches_where_the_decoder_keeps_them_apart(
    batch, true_batch, batches, tmp_path
):
    write_sam2(tmp_path, batch=batch, true_batch=true_batch)
    image = photo((48, 40))
    points = np.random.default_rng(0).random((70, 2)) * [40, 48]
    model = load_onnx(tmp_path)
    counted = model._decoder = Counted(model._decoder)
    answers = model.encode(image).answer(points)
    assert counted.batches == batches
    logits, quality = expected_sam2(image, points)
    torch.testing.assert_close(answers.logits, logits, atol=2e-3, rtol=1e-5)
    torch.testing.assert_close(answers.quality, quality)
    again = model.encode(image).answer(points[:1])
    torch.testing.assert_close(again.logits, logits[:1], atol=2e-3, rtol=1e-5)


def test_prompts_are_those_of_each_family(exported, tmp_path):
    write_sam2(tmp_path, tool="osam")
    for folder, labels, coords, size in (
        (exported, [[1, -1]], [[[16, 32], [0, 0]]], [16, 8]),
        (tmp_path, [[1]], [[[16, 16]]], [8, 8]),
    ):
        model = load_onnx(folder)
        counted = model._decoder = Counted(model._decoder)
        model.encode(photo((80, 40))).answer(np.array([[20.0, 40.0]]))
        (given,) = counted.feeds
        np.testing.assert_array_equal(given["point_labels"], labels)
        np.testing.assert_array_equal(given["point_coords"], coords)
        np.testing.assert_array_equal(given["orig_im_size"], size)
        np.testing.assert_array_equal(given["has_mask_input"], [0])
        assert given["orig_im_size"].dtype == (np.float32 if folder is exported else np.int64)


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ([1, 3, 32, 32], onnx.TensorProto.UINT8),
        ([1, 32, 32, 3], FLOAT),
        ([32, 32, 3], FLOAT),
        (["height", "width", 3], onnx.TensorProto.UINT8),
    ],
)
def test_encoders_that_normalise_get_colours(shape, kind, tmp_path):
    """An encoder that returns what it is given; a photo of a colour is itself, then the mean."""
    write_sam2(tmp_path)
    save(
        tmp_path / "model.encoder.onnx",
        [("Cast", ["image"], ["image_embeddings"], {"to": FLOAT})],
        [value("image", shape, kind)],
        [value("image_embeddings", None)],
    )
    write_plain_decoder(tmp_path / "model.decoder.onnx")
    image = np.full((16, 8, 3), (10, 20, 30), np.uint8)
    made = load_onnx(tmp_path).encode(image).features["image_embeddings"]
    last = np.moveaxis(made, 1, -1) if shape[1] == 3 else made
    last = last.reshape(last.shape[-3:])
    assert last.shape == ((32, 16, 3) if "height" in shape else (32, 32, 3))
    np.testing.assert_array_equal(last[:, :16], np.broadcast_to((10, 20, 30), (32, 16, 3)))
    if "height" not in shape:
        mean = np.round(MEAN) if kind != FLOAT else np.float32(MEAN)
        np.testing.assert_array_equal(last[:, 16:], np.broadcast_to(mean, (32, 16, 3)))


def write_plain_decoder(path, coords=(1, "points", 2), masks=(1, 3, 8, 8), extra=(), weights=()):
    """A decoder of SAM 1's names that always answers the same."""
    save(
        path,
        [
            ("Identity", ["all"], ["low_res_masks"], {}),
            ("Identity", ["some"], ["iou_predictions"], {}),
        ],
        [
            value("image_embeddings", None), value("point_coords", coords),
            value("point_labels", coords[:2]), value("mask_input", [1, 1, 8, 8]), *extra,
        ],
        [value("low_res_masks", None), value("iou_predictions", None)],
        [constant("all", np.zeros(masks)), constant("some", np.zeros((1, 3))), *weights],
    )  # fmt: skip


def write_efficient(folder):
    """A model of EfficientSAM's names; its masks are as large as it is told that the photo is.

    A mask of a click on (x, y) of a photo of H x W is mean colour + x / W + 10 y / H + m.
    """
    save(
        folder / "encoder.onnx",
        [("ReduceMean", ["batched_images"], ["image_embeddings"], {"keepdims": 1})],
        [value("batched_images", ["batch", 3, "height", "width"])],
        [value("image_embeddings", None)],
    )
    save(
        folder / "decoder.onnx",
        [
            ("Cast", ["orig_im_size"], ["size"], {"to": FLOAT}),
            ("Gather", ["size", "swapped"], ["xy"], {}),
            ("Div", ["batched_point_coords", "xy"], ["part"], {}),
            ("Mul", ["part", "weights"], ["weighted"], {}),
            ("ReduceSum", ["weighted", "last"], ["place"], {"keepdims": 0}),  # 1 P 1.
            ("Mul", ["place", "batched_point_labels"], ["labelled"], {}),
            ("Add", ["labelled", "numbers"], ["iou_predictions"], {}),  # 1 P 3.
            ("Unsqueeze", ["iou_predictions", "new"], ["flat"], {}),
            ("Add", ["flat", "image_embeddings"], ["shifted"], {}),
            ("Concat", ["ones", "orig_im_size"], ["shape"], {"axis": 0}),
            ("Expand", ["shifted", "shape"], ["output_masks"], {}),
        ],
        [
            value("image_embeddings", ["batch", 1, 1, 1]),
            value("batched_point_coords", [1, "num_points", 1, 2]),
            value("batched_point_labels", [1, "num_points", 1]),
            value("orig_im_size", [2], INT64),
        ],
        [value("output_masks", None), value("iou_predictions", None)],
        [
            constant("swapped", [1, 0], np.int64),
            constant("weights", [1, 10]), constant("last", [3], np.int64),
            constant("numbers", np.arange(3).reshape(1, 1, 3)),
            constant("new", [3, 4], np.int64), constant("ones", [1, 1, 1], np.int64),
        ],
    )  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_efficient_sam_answers_by_its_formula(shape, tmp_path):
    write_efficient(tmp_path)
    image, points = photo(shape), clicks(shape)
    model = load_onnx(tmp_path)
    encoded = model.encode(image)
    answers = encoded.answer(points)
    x, y = torch.from_numpy(points / [shape[1], shape[0]]).float().T
    expected = (x + 10 * y)[:, None] + torch.arange(3)
    torch.testing.assert_close(answers.quality, expected)
    assert answers.logits.shape == (len(points), 3, 256, 256)
    mean = float(image.mean()) / 255
    torch.testing.assert_close(answers.logits[..., 7, 9], expected + mean)
    assert encoded.upsample(answers.logits[0]).shape == (3, *shape)
    assert model._batches is True


# Files that are not as they should be.


def said_by(folder, action=load_onnx):
    with pytest.raises(InputError) as caught:
        action(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert len(text) < 1500
    return text


def test_missing_files_are_named(tmp_path):
    assert "no file or folder" in said_by(tmp_path / "none")
    assert "0 .onnx files" in said_by(tmp_path)
    write_sam2(tmp_path)
    (tmp_path / "model.decoder.onnx").unlink()
    text = said_by(tmp_path)
    assert "no encoder with its decoder" in text
    assert "model.encoder.onnx: image -> high_res_feats_0, high_res_feats_1, image_embed" in text
    assert "point_coords" in text


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    write_sam2(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert EXTRA in said_by(tmp_path)


def test_cuda_needs_an_onnxruntime_that_has_it(tmp_path, monkeypatch):
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    write_sam2(tmp_path)
    text = said_by(tmp_path, lambda folder: load_onnx(folder, device="cuda"))
    assert "onnxruntime-gpu" in text


def test_files_of_several_models_are_told_apart_by_names(exported, tmp_path):
    for name in ("a", "b"):
        for part, source in (("encoder", "one"), ("decoder", "two")):
            data = (exported / f"{source}.onnx").read_bytes()
            (tmp_path / f"sam_{name}.{part}.onnx").write_bytes(data)
    assert "several models" in said_by(tmp_path)
    pair = find_pair(tmp_path / "sam_b.decoder.onnx")
    assert pair.encoder.path.name == "sam_b.encoder.onnx"
    write_sam2(tmp_path)  # Of other names of inputs: it goes with none of the four.
    assert find_pair(tmp_path / "model.encoder.onnx").decoder.path.name == "model.decoder.onnx"
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 40)
    assert find_pair(tmp_path / "sam_a.encoder.onnx").decoder.path.name == "sam_a.decoder.onnx"


@pytest.mark.parametrize("data", [b"", b"not a model", b"\xff" * 50, b"\x08\x08", b"\x3a\xff\x01"])
def test_files_that_are_no_models(data, tmp_path):
    write_sam2(tmp_path)
    (tmp_path / "model.decoder.onnx").write_bytes(data)
    assert "model.decoder.onnx is no ONNX file" in said_by(tmp_path)
    assert "model.decoder.onnx is no ONNX file" in said_by(tmp_path / "model.decoder.onnx")


def test_cut_off_files(exported, tmp_path):
    (tmp_path / "one.onnx").write_bytes((exported / "one.onnx").read_bytes())
    data = (exported / "two.onnx").read_bytes()
    for length in (10, 1000, len(data) // 2, len(data) - 200, len(data) - 1):
        (tmp_path / "two.onnx").write_bytes(data[:length])
        assert "two.onnx" in said_by(tmp_path)


def test_bytes_of_chance_give_one_line(tmp_path):
    """Damage anywhere is either seen, or leaves a model that answers."""
    write_sam2(tmp_path)
    path, rng = tmp_path / "model.decoder.onnx", np.random.default_rng(0)
    data, seen = path.read_bytes(), 0
    for _ in range(60):
        damaged = bytearray(data)
        damaged[rng.integers(len(data))] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            model = load_onnx(tmp_path)
            model.encode(photo((48, 40))).answer(np.ones((2, 2)))
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017
            seen += 1
    assert 20 < seen < 60


@pytest.mark.parametrize(
    "place",
    [
        "../secret.bin",
        "/etc/passwd",
        "a/../../secret.bin",
        "*/_ORT_MEM_ADDR_/*",
        "C:\\x",
        "",
        "link",
    ],
)
def test_weights_stay_in_the_folder(place, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write_sam2(folder)
    (tmp_path / "secret.bin").write_bytes(bytes(400))
    (folder / "link").symlink_to(tmp_path / "secret.bin")
    weight = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    for key, text in (("location", place), ("offset", "0"), ("length", "16")):
        weight.external_data.add(key=key, value=text)
    write_plain_decoder(folder / "model.decoder.onnx", weights=[weight])
    text = said_by(folder)
    assert "outside of its folder" in text or "out of its folder" in text


def test_weights_hidden_in_a_node_are_found(tmp_path):
    weight = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    weight.external_data.add(key="location", value="../secret.bin")
    branch = onnx.helper.make_graph(
        [onnx.helper.make_node("Constant", [], ["y"], value=weight)],
        "branch",
        [],
        [value("y", [4])],
    )
    save(
        tmp_path / "a.onnx",
        [("If", ["x"], ["y"], {"then_branch": branch, "else_branch": branch})],
        [value("x", [1], onnx.TensorProto.BOOL)],
        [value("y", [4])],
    )
    assert "outside of its folder" in said_by(tmp_path / "a.onnx", read_signature)


def test_weights_beside_the_file_are_used_and_fingerprinted(exported, tmp_path):
    (tmp_path / "two.onnx").write_bytes((exported / "two.onnx").read_bytes())
    model = onnx.load(exported / "one.onnx")
    onnx.save(
        *(model, tmp_path / "one.onnx"),
        save_as_external_data=True, location="one.bin", size_threshold=64,
    )  # fmt: skip
    image, points = photo((48, 40)), clicks((48, 40))
    split, whole = load_onnx(tmp_path), load_onnx(exported)
    assert read_signature(tmp_path / "one.onnx").data == (tmp_path / "one.bin",)
    a, b = (each.encode(image).answer(points) for each in (split, whole))
    assert torch.equal(a.logits, b.logits)
    data = bytearray((tmp_path / "one.bin").read_bytes())
    data[100] ^= 1
    (tmp_path / "one.bin").write_bytes(data)
    assert load_onnx(tmp_path).fingerprint != split.fingerprint
    (tmp_path / "one.bin").write_bytes(data[: len(data) // 2])
    assert "onnxruntime cannot load" in said_by(tmp_path)
    (tmp_path / "one.bin").unlink()
    assert "is missing; copy it there" in said_by(tmp_path)


def test_a_cache_of_links_is_followed(exported, tmp_path):
    """As downloads are often kept: names that link to files in another folder."""
    blobs, names = tmp_path / "blobs", tmp_path / "names"
    blobs.mkdir()
    names.mkdir()
    for index, name in enumerate(("one", "two")):
        (blobs / str(index)).write_bytes((exported / f"{name}.onnx").read_bytes())
        (names / f"{name}.onnx").symlink_to(blobs / str(index))
    assert load_onnx(names).fingerprint == load_onnx(exported).fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"extra": (value("boxes", [1, 4]),)}, "boxes -> low_res_masks"),
        ({"coords": (1, 1, 1, 2)}, "has 4 axes; expected 3 "),
        ({"coords": (1, 1 << 40, 2)}, "expected at most"),
        ({"extra": (value("has_mask_input", [1 << 50]),)}, "expected at most"),
    ],
)
def test_decoders_of_other_shapes(change, said, tmp_path):
    write_sam2(tmp_path)
    write_encoder_of_one(tmp_path)
    write_plain_decoder(tmp_path / "model.decoder.onnx", **change)
    assert said in said_by(tmp_path)


def write_encoder_of_one(folder, shape=(1, 3, 32, 32), kind=FLOAT):
    save(
        folder / "model.encoder.onnx",
        [("Identity", ["image"], ["image_embeddings"], {})],
        [value("image", shape, kind)],
        [value("image_embeddings", None, kind)],
    )


@pytest.mark.parametrize(
    ("shape", "kind", "said"),
    [
        ((1, 3, 1 << 20, 1 << 20), FLOAT, "expected at most"),
        ((1, 3, 5000, 5000), FLOAT, "expected at most"),
        ((1, 3, 8, 8), FLOAT, "8 pixels a side; expected 16 to 4096"),
        ((1, 3, 32, 64), FLOAT, "expected one square image"),
        ((1, 4, 32, 32), FLOAT, "expected one square image"),
        ((8, 3, 32, 32), FLOAT, "expected one square image"),
        ((3, 32), FLOAT, "expected one square image"),
        ((1, 3, 32, 32), onnx.TensorProto.BOOL, "of type tensor(bool)"),
    ],
)
def test_encoders_of_other_shapes(shape, kind, said, tmp_path):
    write_encoder_of_one(tmp_path, shape, kind)
    write_plain_decoder(tmp_path / "model.decoder.onnx")
    assert said in said_by(tmp_path)


@pytest.mark.parametrize("masks", [(2, 3, 8, 8), (1, 2, 8, 8), (1, 3, 8), (1, 3, 0, 8)])
def test_answers_of_other_shapes(masks, tmp_path):
    write_encoder_of_one(tmp_path)
    write_plain_decoder(tmp_path / "model.decoder.onnx", masks=masks)
    encoded = load_onnx(tmp_path).encode(photo((48, 40)))
    text = said_by(np.ones((1, 2)), encoded.answer)
    assert "expected [1, masks, height, width] and [1, masks]" in text


def test_a_graph_that_asks_for_too_much_memory_fails_in_one_line(tmp_path):
    write_encoder_of_one(tmp_path)
    save(
        tmp_path / "model.encoder.onnx",
        [
            ("ConstantOfShape", ["size"], ["huge"], {}),
            ("ReduceMax", ["huge"], ["top"], {"keepdims": 0}),
            ("Add", ["image", "top"], ["image_embeddings"], {}),
        ],
        [value("image", [1, 3, 32, 32])],
        [value("image_embeddings", None)],
        [constant("size", [1 << 50], np.int64)],
    )
    write_plain_decoder(tmp_path / "model.decoder.onnx")

    def use(folder: Path):
        load_onnx(folder).encode(photo((48, 40)))

    assert "model.encoder.onnx" in said_by(tmp_path, use)


def test_signatures_are_those_that_onnx_reads(exported, tmp_path):
    write_efficient(tmp_path)
    for path in (*exported.glob("*.onnx"), *tmp_path.glob("*.onnx")):
        graph, found = onnx.load(path).graph, read_signature(path)
        assert found.inputs == tuple(each.name for each in graph.input)
        assert found.outputs == tuple(each.name for each in graph.output)
    model = onnx.load(tmp_path / "decoder.onnx")  # As older files list their weights, too.
    model.graph.input.append(value("weights", [2]))
    onnx.save(model, tmp_path / "old.onnx")
    assert read_signature(tmp_path / "old.onnx").inputs == tuple(
        each.name for each in model.graph.input[:-1]
    )
