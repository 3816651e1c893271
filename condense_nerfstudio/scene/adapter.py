"""The 2D branch: a small trainable correction of a teacher's feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

_FILTER_SIZE = 5
"""Side in cells of what the filter sees."""
_FILTER_GAIN = 5.0
"""How much faster the filter learns than the other weights: Adam's steps are of one size, and a mean over a
neighbourhood needs large ones."""


class Adapter(nn.Module):
    """Adds a learned, context-aware correction to a teacher's feature map: G = H + filter(H), H = F + bottleneck(F).

    The bottleneck, two pointwise layers with a depthwise convolution between them, says what should be added where. The
    filter moves every channel towards, or away from, a weighted mean of the cells around it, by weights of its own: how
    far a channel is to be trusted to stay in its cell. It leaves constant maps alone, since a filter that could make
    features smaller would do so, for the sake of small distances between the branches. Both start at zero: at the start
    the output is the teacher's map exactly.

    Args:
        dim: channels of the teacher.
        hidden_dim: channels of the bottleneck.
        kernel_size: side of the bottleneck's neighbourhood in cells, odd.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, hidden_dim)
        self.context = _depthwise(hidden_dim, kernel_size, bias=True)
        self.up = nn.Linear(2 * hidden_dim, dim)
        self.filter = _depthwise(dim, _FILTER_SIZE, bias=False)
        for zero in (self.up.weight, self.up.bias, self.filter.weight):
            nn.init.zeros_(zero)

    def forward(self, feature_maps: Float[Tensor, "*bs hp wp c"]) -> Float[Tensor, "*bs hp wp c"]:
        """Adapts maps of centred features."""
        hidden = F.gelu(self.down(feature_maps))
        context = _convolved(self.context, hidden)
        corrected = feature_maps + self.up(F.gelu(torch.cat([hidden, context], dim=-1)))
        own_share = self.filter.weight.sum(dim=(1, 2, 3))
        return corrected + _FILTER_GAIN * (_convolved(self.filter, corrected) - own_share * corrected)


def _depthwise(channels: int, kernel_size: int, bias: bool) -> nn.Conv2d:
    """A convolution of every channel by itself that keeps the map's size."""
    return nn.Conv2d(
        channels, channels, kernel_size, padding=kernel_size // 2, padding_mode="replicate", groups=channels, bias=bias
    )


def _convolved(convolution: nn.Conv2d, maps: Float[Tensor, "*bs hp wp c"]) -> Float[Tensor, "*bs hp wp c"]:
    """Convolves maps whose channels come last."""
    batch = maps.reshape(-1, *maps.shape[-3:]).permute(0, 3, 1, 2)
    if batch.device.type == "cpu":  # channels innermost: with them outermost, the gradient takes four times as long
        batch = batch.contiguous(memory_format=torch.channels_last)
    return convolution(batch).permute(0, 2, 3, 1).reshape(maps.shape)
