"""DINOv2 (Oquab et al., TMLR 2024) as a visual teacher, with or without registers."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.dinov2_weights import load_original_weights
from condense_nerfstudio.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, network_input
from condense_nerfstudio.teachers.registry import option_flag
from condense_nerfstudio.teachers.weights import load_pretrained, strictly, weights_revision

_DEFAULT_MODEL = "facebook/dinov2-base"
_DEFAULT_RESOLUTION = 518
_TUNED = ("q_proj", "v_proj", "query", "value")
"""Projections to queries and values: the layers of LoRA's paper, by the names in transformers 5 and 4."""
_RECIPE_VERSION = 1
"""Raise it when a change of code changes the features."""


class Dinov2Teacher:
    """Patch tokens of one transformer block; see the Teacher protocol.

    Raises:
        UserError: the model cannot be loaded, is no DINOv2, or lacks the layer.
    """

    name = "dinov2"

    def __init__(self, config: TeacherConfig, device: torch.device | str = "cpu") -> None:
        network = _load(config.model or _DEFAULT_MODEL)
        self._layer = config.layer
        if config.layer is not None:
            _keep_layers(network, config.layer)
        self.network = network.eval().requires_grad_(False).to(device)
        self._resolution = config.resolution or _DEFAULT_RESOLUTION
        self._prefix_tokens = 1 + getattr(network.config, "num_register_tokens", 0)
        self.dim: int = network.config.hidden_size
        self.patch_size: int = network.config.patch_size

    @cached_property
    def revision(self) -> str:
        recipe = f"dinov2 {_RECIPE_VERSION} layer {self._layer} resolution {self._resolution}"
        return weights_revision([self.network], recipe)

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        return self.encode_with(self.network, image)

    def encode_with(self, network: nn.Module, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        pixels = network_input(
            image.to(self.network.device), self._resolution, self.patch_size, IMAGENET_MEAN, IMAGENET_STD
        )
        tokens = network(pixel_values=pixels).last_hidden_state[0, self._prefix_tokens :]
        return tokens.view(pixels.shape[2] // self.patch_size, pixels.shape[3] // self.patch_size, self.dim)

    def tunable_layers(self, blocks: int) -> list[str]:
        layers = self.network.encoder.layer
        return [
            f"encoder.layer.{number}.{name}"
            for number in range(max(0, len(layers) - blocks), len(layers))
            for name, _ in layers[number].named_modules()
            if name.rpartition(".")[2] in _TUNED
        ]


def _load(model: str) -> Any:
    from transformers import AutoModel

    if Path(model).is_file():
        return load_original_weights(Path(model))
    network = load_pretrained(strictly(AutoModel.from_pretrained), model, "dinov2", "visual")
    kind = network.config.model_type
    if kind not in ("dinov2", "dinov2_with_registers"):
        raise UserError(
            f"Teacher dinov2: '{model}' is a {kind} model: give {option_flag('visual', 'model')} a DINOv2 one."
        )
    return network


def _keep_layers(network: Any, layer: int) -> None:
    """Makes the output that of block `layer` (hidden_states[layer] of the full network) and skips what follows."""
    count = network.config.num_hidden_layers
    if not 1 <= layer <= count:
        raise UserError(
            f"Teacher dinov2 has no layer {layer}: give {option_flag('visual', 'layer')} a number from 1 to {count}."
        )
    del network.encoder.layer[layer:]
    network.layernorm = nn.Identity()
