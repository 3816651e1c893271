"""The 2D branch: a small trainable correction of a teacher's feature map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class Adapter(nn.Module):
    """Adds a learned, context-aware correction to a teacher's feature map: G = F + adapter(F).

    A bottleneck with a depthwise convolution between two pointwise layers, so that a cell sees its neighbourhood. The
    last layer starts at zero: at the start the output is the teacher's map exactly.

    Args:
        dim: channels of the teacher.
        hidden_dim: channels of the bottleneck.
        kernel_size: side of the neighbourhood in cells, odd.
    """

    def __init__(self, dim: int, hidden_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, hidden_dim)
        self.context = nn.Conv2d(
            hidden_dim, hidden_dim, kernel_size, padding=kernel_size // 2, padding_mode="replicate", groups=hidden_dim
        )
        self.up = nn.Linear(2 * hidden_dim, dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, feature_maps: Float[Tensor, "*bs hp wp c"]) -> Float[Tensor, "*bs hp wp c"]:
        """Adapts maps of centred features."""
        hidden = F.gelu(self.down(feature_maps))
        batch = hidden.reshape(-1, *hidden.shape[-3:]).permute(0, 3, 1, 2)
        if batch.device.type == "cpu":  # channels innermost: with them outermost, the gradient takes four times as long
            batch = batch.contiguous(memory_format=torch.channels_last)
        context = self.context(batch)
        context = context.permute(0, 2, 3, 1).reshape(hidden.shape)
        return feature_maps + self.up(F.gelu(torch.cat([hidden, context], dim=-1)))
