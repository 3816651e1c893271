"""EfficientNet-Lite0 (Tan and Le, ICML 2019) as an offline visual teacher."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.efficientnet_network import NUM_BLOCKS, PIXEL_MEAN, PIXEL_STD, EfficientNetLite0
from condense_nerfstudio.teachers.preprocessing import network_input
from condense_nerfstudio.teachers.registry import option_flag
from condense_nerfstudio.teachers.weights import weights_revision

_DEFAULT_BLOCK = 10
_DEFAULT_RESOLUTION = 640
_RECIPE_VERSION = 1
"""Raise it when a change of code changes the features."""


class EfficientNetTeacher:
    """The output of one block, by default 112 channels at stride 16; see the Teacher protocol.

    Raises:
        UserError: the packages are missing, or there is no such block.
    """

    name = "efficientnet"

    def __init__(self, config: TeacherConfig, device: torch.device | str = "cpu") -> None:
        self._block = _DEFAULT_BLOCK if config.layer is None else config.layer
        if not 0 <= self._block < NUM_BLOCKS:
            raise UserError(
                f"Teacher efficientnet has no layer {self._block}: "
                f"give {option_flag('visual', 'layer')} a number from 0 to {NUM_BLOCKS - 1}."
            )
        self._device = torch.device(device)
        self.network = EfficientNetLite0(self.name).to(self._device)
        self._resolution = config.resolution or _DEFAULT_RESOLUTION
        self.dim = self.network.channels(self._block)
        self.patch_size = self.network.stride(self._block)

    @cached_property
    def revision(self) -> str:
        recipe = f"efficientnet {_RECIPE_VERSION} block {self._block} resolution {self._resolution}"
        return weights_revision([self.network], recipe)

    @torch.no_grad()
    def encode_image(self, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        return self.encode_with(self.network, image)

    def encode_with(self, network: nn.Module, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        assert isinstance(network, EfficientNetLite0)
        pixels = network_input(image.to(self._device), self._resolution, self.patch_size, PIXEL_MEAN, PIXEL_STD)
        return network.features(pixels, self._block)[0].permute(1, 2, 0).contiguous()

    def tunable_layers(self, blocks: int) -> list[str]:
        return self.network.pointwise(range(max(0, self._block + 1 - blocks), self._block + 1))
