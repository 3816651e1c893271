"""The perceptron: that the kernel is the readable twin, whatever the shapes."""

from __future__ import annotations

import itertools

import pytest
import torch

from condense_nerfstudio.backends import runs_compiled
from condense_nerfstudio.scene.perceptron import Perceptron, perceptron, perceptron_reference


@pytest.mark.parametrize(
    ("dims", "rays", "samples", "ray_term"),
    [
        ((10, 16, 1), 50, 30, False),
        ((15, 64, 64, 3), 37, 48, True),
        ((7, 5, 3), 33, 5, True),
        ((24, 64, 16), 3, 200, True),  # rays longer than a block
        ((4, 8, 2), 1, 1, False),
        ((4, 8, 2), 0, 6, True),
    ],
)
def test_the_kernel_agrees_with_its_twin(dims: tuple[int, ...], rays: int, samples: int, ray_term: bool) -> None:
    torch.manual_seed(0)
    inputs = torch.randn(rays, samples, dims[0], requires_grad=True)
    weights = [torch.randn(o, i, requires_grad=True) for i, o in itertools.pairwise(dims)]
    term = torch.randn(rays, dims[1], requires_grad=True) if ray_term else None
    assert runs_compiled(inputs, *weights)
    ours, theirs = perceptron(inputs, weights, term), perceptron_reference(inputs, weights, term)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    leaves = [inputs, *weights, *([] if term is None else [term])]
    gradient = torch.randn(ours.shape)
    for a, b in zip(*(torch.autograd.grad(x, leaves, gradient) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3 * float(b.abs().max()) if b.numel() else 0.0)


def test_two_runs_give_the_same_numbers() -> None:
    torch.manual_seed(0)
    network, inputs = Perceptron(8, 16, 4), torch.randn(1000, 8)
    runs = [torch.autograd.grad(network(inputs).sin().sum(), network.weights) for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_wide_layers_and_other_types_take_the_twin() -> None:
    wide = Perceptron(3, 200, 2)
    torch.testing.assert_close(wide(torch.ones(4, 3)), wide[2](torch.relu(wide[0](torch.ones(4, 3)))))
    weights = [torch.randn(5, 3, dtype=torch.float64), torch.randn(2, 5, dtype=torch.float64)]
    inputs = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: perceptron(x, weights), inputs)


def test_the_state_dict_is_that_of_linear_layers() -> None:
    assert list(Perceptron(3, 4, 5).state_dict()) == ["0.weight", "2.weight"]
