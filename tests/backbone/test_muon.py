"""Muon against PyTorch's own, which knows plain matrices only."""

from __future__ import annotations

import pytest
import torch

from condense_nerfstudio.backbone.muon import Muon, orthogonalized


def test_the_updates_are_those_of_torch() -> None:
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this version of PyTorch has no Muon")
    torch.manual_seed(0)
    starts = [torch.randn(12, 5), torch.randn(4, 9)]
    ours, theirs = ([start.clone().requires_grad_() for start in starts] for _ in range(2))
    optimizers = Muon(ours, lr=0.1), torch.optim.Muon(theirs, lr=0.1, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    for _ in range(4):
        for mine, other in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            other.grad = mine.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for start, mine, other in zip(starts, ours, theirs, strict=True):
        moved, expected = (mine - start).detach(), (other - start).detach()
        # PyTorch iterates in half precision, which the polynomial amplifies.
        assert (moved - expected).norm() < 0.05 * expected.norm()


def test_a_kernel_is_the_matrix_of_its_product() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(27, 3, 8, requires_grad=True)
    matrix = kernel.detach().flatten(0, 1).clone().requires_grad_()
    kernel.grad = torch.randn(27, 3, 8)
    matrix.grad = kernel.grad.flatten(0, 1).clone()
    for parameter in (kernel, matrix):
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(kernel.detach().flatten(0, 1), matrix.detach())


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (6, 6)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalized(torch.randn(shape)))
    assert values.max() < 1.4 and values[:-1].min() > 0.4


def test_no_gradient_is_no_update() -> None:
    still, moved = torch.zeros(2, 2, requires_grad=True), torch.ones(2, 2, requires_grad=True)
    moved.grad = torch.zeros(2, 2)
    Muon([still, moved], lr=0.1, weight_decay=0.0).step()
    assert torch.equal(still, torch.zeros(2, 2)) and torch.equal(moved, torch.ones(2, 2))
