"""Sparse grids against dense ones."""

from __future__ import annotations

import torch
from torch.nn import functional

from condense_nerfstudio.scene.node_grid import NodeGrid

SIDE = 6


def grid(nodes: torch.Tensor, values: torch.Tensor) -> NodeGrid:
    return NodeGrid(nodes, values, torch.tensor([-1.0, 2.0, 0.0]), torch.tensor(0.5), torch.tensor(SIDE))


def full() -> tuple[NodeGrid, torch.Tensor]:
    """A grid with a node everywhere, and its dense twin (x, y, z, c)."""
    torch.manual_seed(0)
    axis = torch.arange(SIDE)
    nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    values = torch.randn(len(nodes), 4)
    order = torch.randperm(len(nodes))
    return grid(nodes[order], values[order]), values.view(SIDE, SIDE, SIDE, 4)


def test_rendering_is_the_weighted_sum_of_trilinear_samples() -> None:
    sparse, dense = full()
    inside = torch.rand(20, 3, 3) * (SIDE - 1) + 0.5  # in nodes
    weights = torch.rand(20, 3)
    coordinates = (inside.flip(-1) / SIDE * 2 - 1)[None, None]
    samples = functional.grid_sample(dense.permute(3, 0, 1, 2)[None], coordinates, align_corners=False)[0, :, 0]
    expected = (samples.permute(1, 2, 0) * weights[..., None]).sum(dim=1)
    found = sparse.render(inside * sparse.spacing + sparse.origin, weights)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_only_nodes_that_exist_count_and_far_from_them_all_is_zero() -> None:
    sparse = grid(torch.tensor([[1, 1, 1]]), torch.tensor([[3.0, -2.0]]))
    middle = torch.tensor([1.5, 1.5, 1.5])
    positions = torch.stack([middle, middle + 0.6, middle + 1.2, middle + 50, middle - 50]) * 0.5 + sparse.origin
    found = sparse.render(positions[:, None], torch.ones(5, 1))
    expected = torch.tensor([[3.0, -2.0]] * 2 + [[0.0, 0.0]] * 3)
    torch.testing.assert_close(found, expected)


def test_a_stored_grid_is_the_same_grid() -> None:
    sparse, _ = full()
    again = NodeGrid.from_state(sparse.state_dict())
    positions, weights = torch.rand(9, 2, 3), torch.rand(9, 2)
    assert torch.equal(again.render(positions, weights), sparse.render(positions, weights))
    assert not list(sparse.parameters()) and "places" not in sparse.state_dict()
