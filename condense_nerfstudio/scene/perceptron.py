"""The bias-free perceptron that every small network of the field is made of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from condense_nerfstudio.backends import runs_compiled

WIDEST_COMPILED = 64
"""Width of layers up to which the kernels are used: wider ones keep a matrix library busy without them."""


class Perceptron(nn.Sequential):
    """Two linear layers without bias, a ReLU between them, nothing at the end.

    Bias-free like tiny-cuda-nn's FullyFusedMLP, so that both hold the same numbers.

    Args:
        in_dim: width of the input.
        hidden_dim: width of the hidden layer.
        out_dim: width of the output.
    """

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int) -> None:
        first, second = nn.Linear(in_dim, hidden_dim, bias=False), nn.Linear(hidden_dim, out_dim, bias=False)
        super().__init__(first, nn.ReLU(), second)
        self._layers = first, second

    @property
    def weights(self) -> list[Tensor]:
        """The weights of both layers."""
        return [layer.weight for layer in self._layers]

    def forward(self, inputs: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs out"]:
        """The output of the second layer."""
        return perceptron(inputs, self.weights)


def perceptron(
    inputs: Float[Tensor, "*bs c"],
    weights: Sequence[Tensor],
    ray_term: Float[Tensor, "rays hidden"] | None = None,
) -> Float[Tensor, "*bs out"]:
    """Linear layers without bias, ReLU between them, nothing at the end.

    On a CPU, narrow layers run in a kernel that takes a few points at a time through all of them while they are in the
    cache; as one PyTorch operation after another, each would have to fetch its input from memory and return it there.

    Args:
        inputs: features of points; of shape (rays, samples, c) if there is a ray term.
        weights: of each layer, of shape (out, in).
        ray_term: what is added before the first ReLU, the same for all samples of a ray.
    """
    narrow = all(max(w.shape) <= WIDEST_COMPILED for w in weights)
    if narrow and runs_compiled(inputs, *weights, *(() if ray_term is None else (ray_term,))):
        from condense_nerfstudio.scene.perceptron_compiled import perceptron_compiled

        return perceptron_compiled(inputs, weights, ray_term)
    return perceptron_reference(inputs, weights, ray_term)


def perceptron_reference(
    inputs: Float[Tensor, "*bs c"],
    weights: Sequence[Tensor],
    ray_term: Float[Tensor, "rays hidden"] | None = None,
) -> Float[Tensor, "*bs out"]:
    """The same in plain PyTorch: for other devices and types, and what the kernel is tested against."""
    values = inputs @ weights[0].t()
    if ray_term is not None:
        values = values + ray_term[:, None]
    for weight in weights[1:]:
        values = torch.relu(values) @ weight.t()
    return values
