"""The key-point heads: what they learn from detections, and from each other."""

from __future__ import annotations

import pytest
import torch

from condense_nerfstudio.scene.field import GridConfig
from condense_nerfstudio.scene.keypoint_head import (
    START,
    SUBCELLS,
    KeypointField,
    KeypointLossConfig,
    KeypointMapHead,
    focal_loss,
    keypoint_losses,
)

GRID = GridConfig(num_levels=3, log2_hashmap_size=12, base_resolution=8, max_resolution=64)


def test_the_focal_loss_is_the_formula() -> None:
    probability, target = torch.tensor([0.2, 0.9, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    cross_entropy = torch.nn.functional.binary_cross_entropy(probability, target, reduction="none")
    expected = ((target - probability) ** 2 * cross_entropy).mean()
    torch.testing.assert_close(focal_loss(probability, target), expected)


def test_the_focal_loss_is_least_at_the_target_and_finite_everywhere() -> None:
    target = torch.tensor([0.3])
    values = torch.linspace(0, 1, 101)
    losses = torch.stack([focal_loss(value[None], target) for value in values])
    assert losses.isfinite().all() and values[losses.argmin()] == pytest.approx(0.3)


def test_new_heads_call_little_a_key_point() -> None:
    torch.manual_seed(0)
    expected = torch.sigmoid(torch.tensor(START)).item()
    field = KeypointField(GRID, 8, backend="torch")
    assert field(torch.rand(50, 3)).mean().item() == pytest.approx(expected, abs=0.01)
    answers = KeypointMapHead(5, 8)(torch.zeros(2, 3, 4, 5))
    assert answers.shape == (2, 3 * SUBCELLS, 4 * SUBCELLS) and answers.min() > 0 and answers.max() < 0.3


def test_cells_of_the_2d_head_stay_where_they_are() -> None:
    head, features = KeypointMapHead(5, 8), torch.zeros(3, 4, 5)
    plain = head(features)
    features[1, 2] = 10.0
    changed = (head(features) - plain).abs() > 1e-6
    rows, columns = changed.nonzero(as_tuple=True)
    assert set((rows // SUBCELLS).tolist()) == {1} and set((columns // SUBCELLS).tolist()) == {2}


def test_rendering_is_the_weighted_sum() -> None:
    torch.manual_seed(0)
    field = KeypointField(GRID, 8, backend="torch")
    positions, weights = torch.rand(6, 7, 3), torch.rand(6, 7)
    torch.testing.assert_close(field.render(positions, weights), (weights * field(positions)).sum(dim=1))


def test_each_head_learns_from_the_other_but_does_not_teach_through_it() -> None:
    rendered, predicted = (torch.full((4,), value, requires_grad=True) for value in (0.3, 0.6))
    losses = keypoint_losses(rendered, predicted, torch.zeros(4), KeypointLossConfig(detection=0.0))
    losses["keypoints_agreement"].backward()
    assert rendered.grad is not None and predicted.grad is not None
    assert (rendered.grad < 0).all() and (predicted.grad > 0).all()  # towards each other


def test_what_a_single_view_detects_dies_out() -> None:
    """Two spots of the surface: every view detects the first, one in ten the second."""
    torch.manual_seed(0)
    field = KeypointField(GRID, 16, backend="torch")
    optimizer = torch.optim.Adam(field.parameters(), lr=1e-2)
    spots = torch.tensor([[0.2, 0.1, 0.3], [-0.4, 0.3, 0.1]])
    for step in range(300):
        heat = torch.tensor([1.0, 1.0 if step % 10 == 0 else 0.0])
        optimizer.zero_grad()
        focal_loss(field(spots), heat).backward()
        optimizer.step()
    often, once = field(spots).tolist()
    assert often > 0.8 and once < 0.4
