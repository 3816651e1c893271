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
    filter (:class:`NeighbourFilter`) says how far a channel is to be trusted to stay in its cell. Both start at zero:
    at the start the output is the teacher's map exactly.

    Args:
        dim: channels of the teacher.
        hidden_dim: channels of the bottleneck.
        kernel_size: side of the bottleneck's neighbourhood in cells, odd.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, hidden_dim)
        self.context = nn.Conv2d(hidden_dim, hidden_dim, kernel_size, groups=hidden_dim)
        self.up = nn.Linear(2 * hidden_dim, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        self.filter = NeighbourFilter(dim)

    def forward(self, feature_maps: Float[Tensor, "*bs hp wp c"]) -> Float[Tensor, "*bs hp wp c"]:
        """Adapts maps of centred features."""
        hidden = F.gelu(self.down(feature_maps))
        context = _convolved(hidden, self.context.weight, self.context.bias)
        corrected = feature_maps + self.up(F.gelu(torch.cat([hidden, context], dim=-1)))
        return corrected + self.filter(corrected)


class NeighbourFilter(nn.Module):
    """Moves every channel towards, or away from, a weighted mean of the cells around it, by weights of its own.

    What it adds to constant maps is zero: a filter that could make features smaller would do so, for the sake of small
    distances between the branches.

    Args:
        dim: channels.
    """

    around: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim, 1, _FILTER_SIZE, _FILTER_SIZE))
        around = torch.ones(_FILTER_SIZE, _FILTER_SIZE)
        around[_FILTER_SIZE // 2, _FILTER_SIZE // 2] = 0.0
        self.register_buffer("around", around, persistent=False)

    def forward(self, maps: Float[Tensor, "*bs hp wp c"]) -> Float[Tensor, "*bs hp wp c"]:
        """What is added to maps."""
        others = _FILTER_GAIN * self.weight * self.around
        return _convolved(maps, others - (1.0 - self.around) * others.sum(dim=(2, 3), keepdim=True), None)


def _convolved(
    maps: Float[Tensor, "*bs hp wp c"], kernels: Float[Tensor, "c 1 k k"], bias: Float[Tensor, " c"] | None
) -> Float[Tensor, "*bs hp wp c"]:
    """Convolves every channel by itself; beyond the border stand the cells of the border."""
    batch = maps.reshape(-1, *maps.shape[-3:]).permute(0, 3, 1, 2)
    batch = F.pad(batch, [kernels.shape[-1] // 2] * 4, mode="replicate")
    if batch.device.type == "cpu":  # channels innermost: with them outermost, the gradient takes four times as long
        batch = batch.contiguous(memory_format=torch.channels_last)
    return F.conv2d(batch, kernels, bias, groups=len(kernels)).permute(0, 2, 3, 1).reshape(maps.shape)
