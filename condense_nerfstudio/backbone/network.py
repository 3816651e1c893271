"""The backbone: an octree U-Net from a scene's density and colour to features everywhere in it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from condense_nerfstudio.backbone.convolution import Convolution
from condense_nerfstudio.backbone.octree import INPUT_CHANNELS, Nodes


@dataclass(frozen=True)
class NetworkConfig:
    """Width and depth of a backbone."""

    widths: tuple[int, ...]
    """Channels from the finest level to the coarsest; each level has half the resolution of the one before."""
    blocks: tuple[int, ...]
    """Residual blocks on the way down, a level."""
    up_blocks: tuple[int, ...]
    """Residual blocks on the way up, from the finest level to the last but one."""
    output_dim: int
    """Channels of the feature volume."""
    lifted_dim: int = 0
    """Channels in which photographs' features may be added to the input; 0 for none."""


SIZES: dict[str, NetworkConfig] = {
    "lite": NetworkConfig((32, 64, 96, 96), (1, 1, 1, 1), (1, 1, 0), 64, 64),
    "base": NetworkConfig((48, 96, 192, 256), (1, 2, 2, 1), (1, 1, 1), 96, 64),
}
"""By name; `lite` has 2 million parameters and `base` 12, as many as the paper's MinkUNet14."""


class Backbone(nn.Module):
    """Sparse convolutions over the occupied nodes of scenes (Wang et al., SIGGRAPH 2017), as a U-Net.

    Nothing is normalised over a scene or a batch, so that a scene's features do not depend on what else is there.

    Args:
        config: its size.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        from ocnn.nn import OctreeConv, OctreeDeconv

        self.config = config
        widths = config.widths
        self.stem = nn.Sequential(
            nn.Linear(8 * INPUT_CHANNELS, 2 * widths[0]), nn.GELU(), nn.Linear(2 * widths[0], widths[0])
        )
        self.lifted = nn.Linear(config.lifted_dim + 1, widths[0]) if config.lifted_dim else None
        self.down = nn.ModuleList(
            nn.ModuleList(ResidualBlock(width) for _ in range(count))
            for width, count in zip(widths, config.blocks, strict=True)
        )
        pairs = list(pairwise(widths))
        self.shrink = nn.ModuleList(OctreeConv(a, b, [2], stride=2, nempty=True, use_bias=True) for a, b in pairs)
        self.grow = nn.ModuleList(OctreeDeconv(b, a, [2], stride=2, nempty=True, use_bias=True) for a, b in pairs)
        self.merge = nn.ModuleList(nn.Linear(2 * a, a) for a, _ in pairs)
        self.up = nn.ModuleList(
            nn.ModuleList(ResidualBlock(width) for _ in range(count))
            for width, count in zip(widths, config.up_blocks, strict=False)
        )
        self.output = nn.Sequential(
            nn.LayerNorm(widths[0]), nn.Linear(widths[0], 2 * config.output_dim), nn.GELU(),
            nn.Linear(2 * config.output_dim, config.output_dim),
        )  # fmt: skip

    def forward(self, nodes: Nodes, lifted: Float[Tensor, "nodes _"] | None = None) -> Float[Tensor, "nodes c"]:
        """Features of every node.

        Args:
            nodes: of a scene.
            lifted: what photographs see there; see lifting.lift.
        """
        level, depth, skipped = self.stem(nodes.inputs), nodes.depth, []
        if lifted is not None:
            assert self.lifted is not None
            level = level + self.lifted(lifted)
        for i, blocks in enumerate(self.down):
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                level = block(level, nodes.neighbours(depth - i))
            if i < len(self.shrink):
                skipped.append(level)
                level = _strided(self.shrink[i], level, nodes, depth - i)
        for i in reversed(range(len(self.grow))):
            level = _strided(self.grow[i], level, nodes, depth - i - 1)
            level = self.merge[i](torch.cat([level, skipped[i]], dim=1))
            blocks = self.up[i]
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                level = block(level, nodes.neighbours(depth - i))
        return self.output(level)


def _strided(
    convolution: nn.Module, level: Float[Tensor, "nodes a"], nodes: Nodes, depth: int
) -> Float[Tensor, "other b"]:
    """One of ocnn's convolutions to another depth; it scatters into buffers of one type, so not under autocast."""
    with torch.autocast(level.device.type, enabled=False):
        return convolution(level.float(), nodes.octree, depth)


class ResidualBlock(nn.Module):
    """x + conv(gelu(conv(norm(x)))), the last convolution zero at the start.

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = Convolution(width, width)
        self.second = Convolution(width, width, zero=True)

    def forward(self, values: Float[Tensor, "nodes c"], neighbours: Int[Tensor, " m"]) -> Float[Tensor, "nodes c"]:
        """Convolves the nodes of one depth; see Convolution.forward."""
        hidden = functional.gelu(self.first(self.norm(values), neighbours))
        return values + self.second(hidden, neighbours)
