"""Muon, an optimizer for weight matrices: on a backbone it needs a third of AdamW's steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of an odd polynomial that, iterated, takes singular values of 0..1 to about 1 (Jordan et al. 2024)."""
_ITERATIONS = 5
_UPDATE_SIZE = 0.2
"""Root mean square of an update per learning rate, as AdamW's updates have it."""


class Muon(torch.optim.Optimizer):
    """Momentum, then the nearest matrix whose singular values are all the same.

    Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024); learning rates are those of AdamW,
    by the scale of Liu et al. (arXiv 2502.16982, equation 4). A convolution's kernel is the matrix of its product: all
    dimensions but the last are rows.

    Args:
        parameters: of two dimensions or more.
        lr: learning rate.
        weight_decay: decoupled, as AdamW's.
        momentum: Nesterov's.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.01, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Updates every parameter that has a gradient; `closure` is not supported."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = state["momentum_buffer"]
        momentum.lerp_(gradient, 1.0 - group["momentum"])
        direction = orthogonalized(gradient.lerp(momentum, group["momentum"]).flatten(0, -2))
        scale = _UPDATE_SIZE * max(direction.shape) ** 0.5
        parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
        parameter.add_(direction.view_as(parameter), alpha=-group["lr"] * scale)


def orthogonalized(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """The matrix with its singular values brought near 1, by Newton-Schulz iterations."""
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = wide @ wide.T
        wide = a * wide + (b * square + c * square @ square) @ wide
    return wide.T if matrix.shape[0] > matrix.shape[1] else wide
