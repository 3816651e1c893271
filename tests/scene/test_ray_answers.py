"""Where rays end, from their rendering weights."""

from __future__ import annotations

import torch
from nerfstudio.cameras.rays import Frustums, RaySamples

from condense_nerfstudio.scene.ray_answers import _median_and_spread


def answers(weights: list[float]) -> tuple[float, float]:
    """Median and spread of one ray whose samples are one unit long."""
    count = len(weights)
    starts = torch.arange(count, dtype=torch.float32)[None, :, None]
    zeros = torch.zeros(1, count, 3)
    samples = RaySamples(Frustums(zeros, zeros, starts, starts + 1, torch.ones(1, count, 1)))
    median, spread = _median_and_spread(samples, torch.tensor([weights]))
    return median.item(), spread.item()


def test_a_ray_ends_where_half_of_its_weight_is_met() -> None:
    median, spread = answers([0.0, 0.0, 0.9, 0.0])
    assert abs(median - 2.5) < 1e-5 and abs(spread - 1 / 3) < 1e-5


def test_a_little_weight_in_front_or_far_behind_changes_little() -> None:
    median, spread = answers([0.05, 0.0, 0.8, 0.0, 0.0, 0.0, 0.05])
    assert abs(median - 2.5) < 0.05 and spread < 0.5


def test_two_surfaces_are_uncertain() -> None:
    assert answers([0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5])[1] > 2.5


def test_a_ray_that_meets_nothing_is_finite() -> None:
    median, spread = answers([0.0, 0.0, 0.0])
    assert 0 <= median <= 3 and 0 <= spread <= 3
