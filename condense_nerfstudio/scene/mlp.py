"""The bias-free perceptron that every small network of the field is made of."""

from __future__ import annotations

from torch import nn


def mlp(in_dim: int, hidden_dim: int, out_dim: int, num_hidden: int = 1) -> nn.Sequential:
    """A chain of linear layers without bias, ReLU between them, nothing at the end.

    Bias-free like tiny-cuda-nn's FullyFusedMLP, so that both hold the same numbers.

    Args:
        in_dim: width of the input.
        hidden_dim: width of the hidden layers.
        out_dim: width of the output.
        num_hidden: number of hidden layers.
    """
    layers: list[nn.Module] = []
    for _ in range(num_hidden):
        layers += [nn.Linear(in_dim, hidden_dim, bias=False), nn.ReLU(inplace=True)]
        in_dim = hidden_dim
    return nn.Sequential(*layers, nn.Linear(in_dim, out_dim, bias=False))
