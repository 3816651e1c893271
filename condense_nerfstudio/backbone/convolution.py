"""The sparse convolution of the backbone: gathers and products only, in its gradient too.

ocnn's own writes gradients to neighbours by scattering. In a stride of one the neighbourhood is symmetric (the k-th
neighbour of i is j where the k-th from the end of j is i), so that the gradient is a convolution with the mirrored
kernel: on a CPU this takes half the time, with the same results to the last bit but one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

NEIGHBOURS = 27
"""Of a node, itself the middle one."""


class Convolution(nn.Module):
    """A 3x3x3 convolution over the nodes of one depth; what is not there counts as zero.

    Args:
        in_channels: of the input.
        out_channels: of the output.
        zero: whether all weights are zero at the start.
    """

    def __init__(self, in_channels: int, out_channels: int, zero: bool = False) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(NEIGHBOURS, in_channels, out_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        if not zero:
            bound = math.sqrt(6.0 / (NEIGHBOURS * (in_channels + out_channels)))  # Glorot and Bengio, AISTATS 2010
            nn.init.uniform_(self.weights, -bound, bound)

    def forward(self, values: Float[Tensor, "n i"], neighbours: Int[Tensor, " m"]) -> Float[Tensor, "n o"]:
        """Convolves.

        Args:
            values: of the nodes.
            neighbours: the places of every node's 27 neighbours, one node after another; n where there is none.
        """
        return _Convolve.apply(values, self.weights, neighbours) + self.bias


class _Convolve(torch.autograd.Function):
    """Gather, then one product; likewise backwards."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, weights: Tensor, neighbours: Tensor) -> Tensor:
        """See Convolution.forward."""
        columns = _columns(values, neighbours)
        ctx.save_for_backward(columns, weights, neighbours)
        return columns @ weights.flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Of the values by the mirrored kernel, of the weights by one product; neighbours have none."""
        columns, weights, neighbours = ctx.saved_tensors
        # Autocast does not reach here: all that is multiplied gets the type of the values.
        gradient = gradients[0].to(columns.dtype)
        for_values = None
        if ctx.needs_input_grad[0]:
            mirrored = weights.flip(0).transpose(1, 2).to(columns.dtype)
            for_values = _columns(gradient, neighbours) @ mirrored.flatten(0, 1)
        return for_values, (columns.T @ gradient).view_as(weights).to(weights.dtype), None


def _columns(values: Float[Tensor, "n c"], neighbours: Int[Tensor, " m"]) -> Float[Tensor, "n k"]:
    """The values of all neighbours of each node, side by side."""
    padded = torch.cat([values, values.new_zeros(1, values.shape[1])])
    return padded.index_select(0, neighbours).view(len(values), -1)
