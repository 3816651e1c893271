"""Weights in the naming of the original DINOv2 repository, as the authors of ConDense released theirs.

The names are those of github.com/facebookresearch/dinov2 (dinov2/models/vision_transformer.py, unchunked blocks).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.registry import option_flag
from condense_nerfstudio.teachers.weights import strictly

_HEAD_WIDTH = 64
"""Channels of an attention head in every DINOv2 from ViT-S to ViT-g; the weights do not tell."""

_RENAMED = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "pos_embed": "embeddings.position_embeddings",
    "register_tokens": "embeddings.register_tokens",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
_RENAMED_IN_BLOCK = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attn.proj": "attention.output.dense",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.w12": "mlp.weights_in",
    "mlp.w3": "mlp.weights_out",
}


def load_original_weights(path: Path) -> Any:
    """A transformers DINOv2 model with the weights of a .pth file in the original naming.

    Raises:
        UserError: the file is broken or does not hold exactly the weights of a DINOv2 network.
    """
    from transformers import Dinov2Model, Dinov2WithRegistersModel

    try:
        original = torch.load(path, map_location="cpu", weights_only=True)
        config = infer_config(original)
        model_class = Dinov2WithRegistersModel if "register_tokens" in original else Dinov2Model
        # from_pretrained, because the class's own parameter names differ between versions of transformers, while
        # the names of published checkpoints, which it translates, do not.
        return strictly(model_class.from_pretrained)(None, config=config, state_dict=to_transformers_names(original))
    except Exception as error:  # unpickling alone raises five types, transformers more
        raise UserError(
            f"Teacher dinov2: {path} does not hold the weights of a DINOv2 network "
            f"({str(error).strip().splitlines()[0] if str(error) else type(error).__name__}): "
            f"give {option_flag('visual', 'model')} such a .pth file, a model folder or a Hugging Face id."
        ) from error


def infer_config(original: dict[str, Tensor]) -> Any:
    """The transformers configuration of a network in the original naming, from the shapes of its weights.

    Raises:
        KeyError: a weight that every DINOv2 has is missing.
    """
    from transformers import Dinov2Config, Dinov2WithRegistersConfig

    hidden_size = original["cls_token"].shape[-1]
    patch_size = original["patch_embed.proj.weight"].shape[-1]
    grid_side = round((original["pos_embed"].shape[1] - 1) ** 0.5)
    shape: dict[str, Any] = {
        "hidden_size": hidden_size,
        "num_attention_heads": hidden_size // _HEAD_WIDTH,
        "num_hidden_layers": len({name.split(".")[1] for name in original if name.startswith("blocks.")}),
        "patch_size": patch_size,
        "image_size": grid_side * patch_size,
        "use_swiglu_ffn": "blocks.0.mlp.w12.weight" in original,
    }
    if "register_tokens" in original:
        return Dinov2WithRegistersConfig(**shape, num_register_tokens=original["register_tokens"].shape[1])
    return Dinov2Config(**shape)


def to_transformers_names(original: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames weights to those of published transformers checkpoints; the fused q, k, v become three.

    Raises:
        KeyError: a name that no DINOv2 has.
    """
    converted: dict[str, Tensor] = {}
    for name, tensor in original.items():
        block = re.fullmatch(r"blocks\.(\d+)\.(.+?)(\.weight|\.bias)?", name)
        if block is None:
            stem, kind = re.fullmatch(r"(.+?)(\.weight|\.bias)?", name).groups(default="")  # pyright: ignore[reportOptionalMemberAccess]
            converted[_RENAMED[stem] + kind] = tensor
            continue
        index, stem, kind = block.groups(default="")
        prefix = f"encoder.layer.{index}."
        if stem == "attn.qkv":
            for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                converted[f"{prefix}attention.attention.{part}{kind}"] = rows.clone()
        else:
            converted[prefix + _RENAMED_IN_BLOCK[stem] + kind] = tensor
    return converted
