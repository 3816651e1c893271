"""The contraction: where it maps what, and that the kernel is the readable twin."""

from __future__ import annotations

import pytest
import torch

from condense_nerfstudio.backends import runs_compiled
from condense_nerfstudio.scene.contraction import contract, contract_reference


def test_contraction_maps_space_into_the_unit_cube() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5], [2.0, 0.0, 0.0], [1e6, -1e6, 0.0]])
    expected = torch.tensor([[0.5, 0.5, 0.5], [0.75, 0.25, 0.625], [0.875, 0.5, 0.5], [1.0, 0.0, 0.5]])
    torch.testing.assert_close(contract(points), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(contract_reference(points), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shape", [(500, 3), (7, 11, 3), (0, 3), (3,)])
def test_the_kernel_agrees_with_its_twin(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    points = (2 * torch.randn(shape)).requires_grad_()
    assert runs_compiled(points)
    gradient = torch.randn(shape)
    ours, theirs = contract(points), contract_reference(points)
    torch.testing.assert_close(ours, theirs)
    (ours_grad,) = torch.autograd.grad(ours, points, gradient)
    (theirs_grad,) = torch.autograd.grad(theirs, points, gradient)
    torch.testing.assert_close(ours_grad, theirs_grad)


def test_other_types_take_the_twin() -> None:
    points = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(contract, points)


def test_what_is_no_number_stays_none() -> None:
    assert contract(torch.tensor([[float("nan"), 0.0, 0.0]])).isnan().any()
