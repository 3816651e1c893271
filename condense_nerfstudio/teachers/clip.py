"""CLIP (Radford et al., ICML 2021) as a language teacher with dense features."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.preprocessing import CLIP_MEAN, CLIP_STD, network_input
from condense_nerfstudio.teachers.weights import load_pretrained, strictly, weights_revision

_DEFAULT_MODEL = "openai/clip-vit-base-patch16"
_DEFAULT_RESOLUTION = 448
_RECIPE_VERSION = 1
"""Raise it when a change of code changes the features."""


class ClipTeacher:
    """Dense CLIP features from the value path of the last block; see the LanguageTeacher protocol.

    The recipe is that of MaskCLIP (Zhou et al., ECCV 2022) in the form of F3RM (Shen et al., CoRL 2023): the last
    block's attention is replaced by its value and output projections, applied to each patch token on its own, without
    residual or MLP; then the final LayerNorm and the projection into the joint space.

    Raises:
        UserError: the model cannot be loaded or is no CLIP.
    """

    name = "clip"
    relevancy_temperature = 10.0
    relevancy_threshold = 0.5
    canonical_phrases = ("object", "things", "stuff", "texture")

    def __init__(self, config: TeacherConfig, device: torch.device | str = "cpu") -> None:
        from transformers import AutoTokenizer, CLIPModel

        model = config.model or _DEFAULT_MODEL
        network: Any = load_pretrained(strictly(CLIPModel.from_pretrained), model, "clip", "language")
        self._tokenizer: Any = load_pretrained(AutoTokenizer.from_pretrained, model, "clip", "language")
        self._network = network.eval().requires_grad_(False).to(device)
        layers = network.vision_model.encoder.layers
        self._last_block = layers[-1]
        del layers[-1]
        self._resolution = config.resolution or _DEFAULT_RESOLUTION
        self.dim: int = network.config.projection_dim
        self.patch_size: int = network.config.vision_config.patch_size

    @cached_property
    def revision(self) -> str:
        modules = [self._network.vision_model, self._last_block, self._network.visual_projection]
        return weights_revision(modules, f"clip {_RECIPE_VERSION} resolution {self._resolution}")

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        pixels = network_input(image.to(self._network.device), self._resolution, self.patch_size, CLIP_MEAN, CLIP_STD)
        vision = self._network.vision_model
        patches = vision(pixels, interpolate_pos_encoding=True).last_hidden_state[0, 1:]
        attention = self._last_block.self_attn
        values = attention.out_proj(attention.v_proj(self._last_block.layer_norm1(patches)))
        features = self._network.visual_projection(vision.post_layernorm(values))
        grid = (pixels.shape[2] // self.patch_size, pixels.shape[3] // self.patch_size)
        return functional.normalize(features, dim=-1).view(*grid, self.dim)

    @torch.no_grad()
    def encode_text(self, phrases: list[str]) -> Float[Tensor, "n dim"]:
        limit = self._network.config.text_config.max_position_embeddings
        tokens = self._tokenizer(phrases, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        tokens = tokens.to(self._network.device)
        pooled = self._network.text_model(tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
        return functional.normalize(self._network.text_projection(pooled), dim=-1)
