"""Models of transformers with all their parts and random weights, small enough for tests."""

from contextlib import contextmanager
from pathlib import Path

import torch

CLICKS = {"hidden_size": 32, "mask_input_channels": 4}
DECODER = {
    "hidden_size": 32,
    "mlp_dim": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "iou_head_hidden_dim": 16,
}
MAPS = [[16, 16], [8, 8], [4, 4]]


def sam():
    import transformers as hf

    return hf.SamModel(
        hf.SamConfig(
            vision_config=hf.SamVisionConfig(**_vision()).to_dict(),
            prompt_encoder_config=hf.SamPromptEncoderConfig(**CLICKS, image_size=64).to_dict(),
            mask_decoder_config=hf.SamMaskDecoderConfig(**DECODER).to_dict(),
        )
    )


def sam_hq():
    import transformers as hf

    return hf.SamHQModel(
        hf.SamHQConfig(
            vision_config=hf.SamHQVisionConfig(**_vision()).to_dict(),
            prompt_encoder_config=hf.SamHQPromptEncoderConfig(**CLICKS, image_size=64).to_dict(),
            mask_decoder_config=hf.SamHQMaskDecoderConfig(**DECODER, vit_dim=32).to_dict(),
        )
    )


def _vision():
    return {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 64,
        "window_size": 2,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_dim": 64,
    }


def _hiera():
    import transformers as hf

    backbone = hf.Sam2HieraDetConfig(
        hidden_size=8,
        image_size=[64, 64],
        blocks_per_stage=[1, 1, 2, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 1, 2, 2],
        window_size_per_stage=[4, 4, 4, 4],
        global_attention_blocks=[3],
        window_positional_embedding_background_size=[2, 2],
    )
    return hf.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_channel_list=[64, 32, 16, 8],
        backbone_feature_sizes=MAPS,
        fpn_hidden_size=32,
    )


def sam2():
    import transformers as hf

    return hf.Sam2Model(
        hf.Sam2Config(
            vision_config=_hiera(),
            prompt_encoder_config=hf.Sam2PromptEncoderConfig(**CLICKS, image_size=64),
            mask_decoder_config=hf.Sam2MaskDecoderConfig(**DECODER),
        )
    )


def _video(prefix):
    """Configs of a model for videos: of clicks, decoder, and memory, which is unused."""
    import transformers as hf

    return {
        "prompt_encoder_config": getattr(hf, f"{prefix}PromptEncoderConfig")(
            **CLICKS, image_size=56 if "3" in prefix else 64
        ),
        "mask_decoder_config": getattr(hf, f"{prefix}MaskDecoderConfig")(**DECODER),
        "image_size": 56 if "3" in prefix else 64,
        "memory_attention_hidden_size": 32,
        "memory_attention_num_layers": 1,
        "memory_attention_feed_forward_hidden_size": 32,
        "memory_attention_rope_feat_sizes": [4, 4],
        "memory_encoder_hidden_size": 32,
        "memory_encoder_output_channels": 16,
        "mask_downsampler_embed_dim": 32,
        "memory_fuser_num_layers": 1,
        "memory_fuser_embed_dim": 32,
        "memory_fuser_intermediate_dim": 32,
    }


def sam2_video():
    """The kind of folder that the hub has for SAM 2 and 2.1."""
    import transformers as hf

    return hf.Sam2VideoModel(hf.Sam2VideoConfig(vision_config=_hiera(), **_video("Sam2Video")))


def edgetam():
    """With a backbone of timm at its full size, 5 million weights."""
    import transformers as hf

    backbone = hf.TimmWrapperConfig(
        architecture="repvit_m1",
        model_args={"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
    )
    return hf.EdgeTamModel(
        hf.EdgeTamConfig(
            vision_config=hf.EdgeTamVisionConfig(
                backbone_config=backbone, backbone_feature_sizes=MAPS, fpn_hidden_size=32
            ),
            prompt_encoder_config=hf.EdgeTamPromptEncoderConfig(**CLICKS, image_size=64),
            mask_decoder_config=hf.EdgeTamMaskDecoderConfig(**DECODER),
        )
    )


def _vit():
    import transformers as hf

    backbone = hf.Sam3ViTConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=56,
        window_size=2,
        global_attn_indexes=[1],
        pretrain_image_size=28,
    )
    return hf.Sam3VisionConfig(
        backbone_config=backbone, fpn_hidden_size=32, backbone_feature_sizes=MAPS
    )


def sam3_tracker():
    import transformers as hf

    return hf.Sam3TrackerModel(
        hf.Sam3TrackerConfig(
            vision_config=_vit(),
            prompt_encoder_config=hf.Sam3TrackerPromptEncoderConfig(**CLICKS, image_size=56),
            mask_decoder_config=hf.Sam3TrackerMaskDecoderConfig(**DECODER),
        )
    )


def sam3_video():
    """The kind of folder that the hub has for SAM 3: a detector by text besides the tracker."""
    import transformers as hf

    layer = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 32, "num_layers": 1}
    text = {
        "model_type": "clip_text_model",
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 100,
        "projection_dim": 32,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    detector = hf.Sam3Config(
        vision_config=_vit(),
        text_config=text,
        geometry_encoder_config=layer,
        detr_encoder_config=layer,
        detr_decoder_config=layer,
        mask_decoder_config={"hidden_size": 32, "num_attention_heads": 2},
    )
    tracker = hf.Sam3TrackerVideoConfig(vision_config=_vit(), **_video("Sam3TrackerVideo"))
    return hf.Sam3VideoModel(hf.Sam3VideoConfig(detector_config=detector, tracker_config=tracker))


MODELS = {
    "sam": sam,
    "sam_hq": sam_hq,
    "sam2": sam2,
    "sam2_video": sam2_video,
    "edgetam": edgetam,
    "sam3_tracker": sam3_tracker,
    "sam3_video": sam3_video,
}
"""One of each `model_type`; EdgeTAM needs timm as well."""


def side_of(kind) -> int:
    """Side of the square at which a small model sees photos, pixels."""
    return 56 if kind.startswith("sam3") else 64


def processor_of(kind):
    """Processor of transformers, for photos as they come and clicks on them."""
    import transformers as hf

    side = side_of(kind)
    square = {"height": side, "width": side}
    if kind.startswith("sam3"):
        return hf.Sam3TrackerProcessor(hf.Sam3ImageProcessor(size=square), target_size=side)
    if kind in ("sam", "sam_hq"):
        images = hf.SamImageProcessor(size={"longest_edge": side}, pad_size=square)
        return (hf.SamHQProcessor if kind == "sam_hq" else hf.SamProcessor)(images)
    return hf.Sam2Processor(hf.Sam2ImageProcessor(size=square), target_size=side)


def save_small(kind, folder: Path, *, seed=0, **settings) -> Path:
    """Write a small model and how photos are prepared for it as a folder like those of the hub."""
    from safetensors.torch import load_file, save_file

    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        model = MODELS[kind]().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():  # As they come, all clicks get one answer.
            if weight.ndim > 1 and "backbone.timm" not in name:
                noise = torch.randn(weight.shape, generator=generator)
                weight.copy_(noise / weight[0].numel() ** 0.5)
    with quiet():
        model.save_pretrained(folder, **settings)
    if kind == "sam3_video":  # Saved with the tracker's name twice; the hub has it once.
        weights = load_file(folder / "model.safetensors")
        once = {key.replace("tracker_model.tracker", "tracker"): w for key, w in weights.items()}
        save_file(once, folder / "model.safetensors", metadata={"format": "pt"})
    processor_of(kind).image_processor.save_pretrained(folder)
    return folder


@contextmanager
def quiet():
    """No progress bars of transformers."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    yield
    logging.enable_progress_bar()
