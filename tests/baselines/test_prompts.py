"""SAM by prompts, through the code of segment_anything with a small model of random weights."""

import numpy as np
import pytest
import torch

from splat_uff.baselines.prompts import prompt_points, prompted_covering
from splat_uff.capture.records import GroundTruth, View
from splat_uff.geometry.cameras import Camera
from splat_uff.masks.sam import load_sam
from splat_uff.system.errors import InputError

SIZE = 64


@pytest.fixture(scope="module")
def small_sam():
    """A SAM of all its parts, a hundredth of the smallest one's size."""
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        sam = Sam(
            image_encoder=ImageEncoderViT(
                img_size=SIZE, patch_size=16, embed_dim=32, depth=2, num_heads=2, out_chans=32,
                use_rel_pos=True, window_size=2, global_attn_indexes=(1,),
            ),
            prompt_encoder=PromptEncoder(
                embed_dim=32, image_embedding_size=(4, 4), input_image_size=(SIZE, SIZE),
                mask_in_chans=4,
            ),
            mask_decoder=MaskDecoder(
                transformer_dim=32,
                transformer=TwoWayTransformer(depth=1, embedding_dim=32, num_heads=2, mlp_dim=32),
            ),
        )  # fmt: skip
    return sam.eval()


def photo(rng, size=48):
    camera = Camera(np.eye(4), np.array([[40.0, 0, 24], [0, 40, 24], [0, 0, 1]]), size, size)
    image = np.concatenate([rng.random((size, size, 3)), np.ones((size, size, 1))], axis=2)
    objects = np.zeros((size, size), int)
    objects[8:40, 8:24], objects[8:40, 24:40] = 1, 2
    truth = GroundTruth(objects, (objects > 0).astype(int))
    return View("r_0", camera, image.astype(np.float32), truth)


def test_prompt_points_gives_three_masks_a_point_whatever_the_batch(small_sam):
    from segment_anything import SamPredictor

    predictor = SamPredictor(small_sam)
    rng = np.random.default_rng(0)
    predictor.set_image((rng.random((48, 40, 3)) * 255).astype(np.uint8))
    points = rng.integers(0, 40, (7, 2))
    masks = prompt_points(predictor, points)
    assert masks.shape == (7, 3, 48, 40)
    assert masks.dtype == bool
    np.testing.assert_array_equal(masks, prompt_points(predictor, points, batch=2))
    one, _, _ = predictor.predict(points[2:3] + 0.5, np.ones(1))
    np.testing.assert_array_equal(masks[2], one)


def test_prompted_covering_is_the_best_iou_of_the_three(small_sam):
    from segment_anything import SamPredictor

    view = photo(np.random.default_rng(1))
    assert view.truth is not None
    found = prompted_covering(
        small_sam, [view], [view.truth], rng=np.random.default_rng(0), num_clicks=10
    )
    predictor = SamPredictor(small_sam)
    predictor.set_image((view.image[..., :3] * 255 + 0.5).astype(np.uint8))
    rng, scores = np.random.default_rng(0), []
    for segment in (1, 2):
        A = view.truth.objects == segment
        values = []
        for click in rng.choice(np.flatnonzero(A), 10):
            masks, _, _ = predictor.predict(np.array([[click % 48, click // 48]]) + 0.5, np.ones(1))
            values.append(max((mask & A).sum() / (mask | A).sum() for mask in masks))
        scores.append(np.mean(values))
    assert found.objects == pytest.approx(np.mean(scores), abs=1e-6)


def test_load_sam_says_what_is_no_checkpoint(tmp_path):
    path = tmp_path / "sam.pth"
    with pytest.raises(InputError, match="no checkpoint"):
        load_sam(path, "vit_b")
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="is no checkpoint of weights"):
        load_sam(path, "vit_b")


@pytest.mark.slow
def test_load_sam_says_when_weights_are_of_another_model(small_sam, tmp_path):
    path = tmp_path / "sam.pth"
    torch.save(small_sam.state_dict(), path)
    with pytest.raises(InputError, match="does not hold the weights of vit_b"):
        load_sam(path, "vit_b")
