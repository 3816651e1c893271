"""The autograd function around the perceptron's kernels. Importing this module imports numba."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from condense_nerfstudio.compiled import as_array, run, thread_count
from condense_nerfstudio.scene import perceptron_kernels as kernels


class _PerceptronFunction(torch.autograd.Function):
    """The perceptron, with features as [features, points] and an empty ray term where there is none."""

    @staticmethod
    def forward(ctx, inputs: Tensor, ray_term: Tensor, samples: int, *weights: Tensor) -> Tensor:
        """The outputs."""
        outputs = torch.empty(len(weights[-1]), inputs.shape[1])
        run(
            kernels.forward,
            as_array(inputs),
            tuple(map(as_array, weights)),
            as_array(ray_term),
            samples,
            outputs.numpy(),
        )
        ctx.save_for_backward(inputs, ray_term, *weights)
        ctx.samples = samples
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of inputs, ray term and weights."""
        inputs, ray_term, *weights = ctx.saved_tensors
        grad_inputs, grad_ray_term = torch.empty_like(inputs), torch.zeros_like(ray_term)
        grad_weights = [torch.empty(thread_count(), *weight.shape) for weight in weights]
        run(
            kernels.backward,
            as_array(inputs),
            tuple(map(as_array, weights)),
            as_array(ray_term),
            ctx.samples,
            as_array(grad_outputs),
            grad_inputs.numpy(),
            tuple(map(as_array, grad_weights)),
            grad_ray_term.numpy(),
        )
        return grad_inputs, grad_ray_term, None, *(gradient.sum(dim=0) for gradient in grad_weights)


def perceptron_compiled(
    inputs: Float[Tensor, "*bs c"], weights: Sequence[Tensor], ray_term: Float[Tensor, "rays hidden"] | None
) -> Float[Tensor, "*bs out"]:
    """`perceptron.perceptron` for float32 on the CPU; differentiable once.

    Fastest where features lie outermost in memory, as a hash grid on the CPU leaves them and as the result has them.
    """
    samples = 1 if ray_term is None else inputs.shape[1]
    term = inputs.new_empty(0, 0) if ray_term is None else ray_term.contiguous()
    planes = inputs.reshape(-1, inputs.shape[-1]).t().contiguous()
    outputs = _PerceptronFunction.apply(planes, term, samples, *weights)
    return outputs.t().reshape(*inputs.shape[:-1], len(outputs))
