"""The feature losses on cases small enough to compute by hand, and what the anchors are for."""

from __future__ import annotations

import math

import pytest
import torch

from condense_nerfstudio.backends import runs_compiled
from condense_nerfstudio.scene.adapter import Adapter
from condense_nerfstudio.scene.losses import (
    FeatureLossConfig,
    contrastive_loss,
    distance_losses,
    distances,
    distances_reference,
    feature_distance,
)


def test_distance_of_equal_features_is_zero() -> None:
    features = torch.randn(5, 8).sign()
    torch.testing.assert_close(feature_distance(features, features), torch.zeros(5))


def test_distance_of_hand_made_vectors() -> None:
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [3.0, 0.0]])
    b = torch.tensor([[0.0, 1.0], [-1.0, 0.0], [1.0, 0.0]])
    # 1 - cosine is 1, 2, 0; smooth L1 averages (0.5 + 0.5) / 2, (1.5 + 0) / 2, (1.5 + 0) / 2.
    torch.testing.assert_close(feature_distance(a, b), torch.tensor([1.5, 2.75, 0.75]))


@pytest.mark.parametrize("contrast", [0.0, FeatureLossConfig.contrast])
def test_short_features_grow_to_the_length_of_their_target(contrast: float) -> None:
    target, points = torch.randn(50, 16), 10.0 * torch.randn(50, 3)
    features = torch.nn.Parameter(1e-4 * torch.randn(50, 16))
    optimizer = torch.optim.Adam([features], lr=1e-2)
    for _ in range(600):
        optimizer.zero_grad()
        loss = feature_distance(features, target).mean()
        loss = loss + contrast * contrastive_loss(features, target, points, torch.zeros(50), 0.1)
        loss.backward()
        optimizer.step()
    torch.testing.assert_close(features.norm(dim=1), target.norm(dim=1), rtol=0.5, atol=0)


@pytest.mark.parametrize(("rays", "channels"), [(33, 7), (200, 384), (1, 1), (0, 5)])
def test_the_kernel_of_the_distances_agrees_with_its_twin(rays: int, channels: int) -> None:
    torch.manual_seed(0)
    # Lengths on both sides of the least length that the cosine divides by.
    rendered, adapted, teacher = (1.5 * torch.rand(rays, 1) * torch.randn(rays, channels) for _ in range(3))
    both = rendered.requires_grad_(), adapted.requires_grad_()
    assert runs_compiled(*both, teacher)
    ours, theirs = distances(*both, teacher), distances_reference(*both, teacher)
    torch.testing.assert_close(ours, theirs)
    gradient = torch.rand(3, rays)
    for a, b in zip(*(torch.autograd.grad(x, both, gradient) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_adapting_maps_together_or_one_by_one_is_the_same() -> None:
    torch.manual_seed(0)
    adapter, maps = Adapter(6, 4, 5), torch.randn(3, 7, 9, 6)
    for started_at_zero in (adapter.up, adapter.filter):
        torch.nn.init.normal_(started_at_zero.weight)
    torch.testing.assert_close(adapter(maps), torch.stack([adapter(one) for one in maps]))


def test_distance_is_symmetric() -> None:
    a, b = torch.randn(7, 4), torch.randn(7, 4)
    torch.testing.assert_close(feature_distance(a, b), feature_distance(b, a))


def test_consistency_reaches_both_branches_and_never_the_teacher() -> None:
    rendered, adapted, teacher = (torch.randn(6, 4, requires_grad=True) for _ in range(3))
    losses = distance_losses(rendered, adapted, teacher, FeatureLossConfig())
    losses["consistency"].backward(retain_graph=True)
    assert rendered.grad is not None and rendered.grad.abs().sum() > 0
    assert adapted.grad is not None and adapted.grad.abs().sum() > 0
    torch.stack(list(losses.values())).sum().backward()
    assert teacher.grad is None


def test_weights_scale_their_terms() -> None:
    rendered, adapted, teacher = torch.randn(3, 6, 4)
    once = distance_losses(rendered, adapted, teacher, FeatureLossConfig(1.0, 1.0, 1.0))
    scaled = distance_losses(rendered, adapted, teacher, FeatureLossConfig(2.0, 3.0, 0.0))
    torch.testing.assert_close(scaled["consistency"], 2 * once["consistency"])
    torch.testing.assert_close(scaled["anchor_2d"], 3 * once["anchor_2d"])
    assert scaled["anchor_3d"] == 0


FAR_APART = torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]])


def test_contrast_of_hand_made_vectors() -> None:
    rendered = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    adapted = torch.tensor([[1.0, 0.0], [5.0, 0.0]])
    # Cosines: [[1, 1], [0, 0]]. Rows: ln 2 twice. Columns: ln(1 + e^-2) and ln(1 + e^2) at temperature 1/2.
    rows, columns = math.log(2), (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2))) / 2
    loss = contrastive_loss(rendered, adapted, FAR_APART, torch.ones(2), 0.5)
    torch.testing.assert_close(loss, torch.tensor((rows + columns) / 2))


def test_contrast_does_not_tell_neighbours_apart() -> None:
    rendered, adapted = torch.randn(2, 2, 8)
    reach = torch.tensor([0.1, 9.5])
    assert contrastive_loss(rendered, adapted, FAR_APART, reach, 0.1) == 0
    assert contrastive_loss(rendered, adapted, FAR_APART, torch.ones(2), 0.1) > 0


def test_contrast_trains_both_branches() -> None:
    rendered, adapted = (torch.randn(6, 4, requires_grad=True) for _ in range(2))
    contrastive_loss(rendered, adapted, torch.randn(6, 3), torch.zeros(6), 0.1).backward()
    assert rendered.grad is not None and rendered.grad.abs().sum() > 0
    assert adapted.grad is not None and adapted.grad.abs().sum() > 0


def test_contrast_without_any_surface_is_zero() -> None:
    empty = torch.empty(0, 4, requires_grad=True)
    loss = contrastive_loss(empty, empty, torch.empty(0, 3), torch.empty(0), 0.1)
    loss.backward()
    assert loss == 0


def _train_both_branches(weights: FeatureLossConfig) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A 2D branch over a feature map and a free 3D feature a surface point, seen in two views with noise."""
    torch.manual_seed(0)
    points = torch.randn(12 * 12, 16)
    views = [(points + 0.8 * torch.randn_like(points)).reshape(12, 12, 16) for _ in range(2)]
    adapter = Adapter(16, hidden_dim=32, kernel_size=3)
    for parameter in adapter.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    surface = torch.nn.Parameter(0.1 * torch.randn(12 * 12, 16))
    optimizer = torch.optim.Adam([*adapter.parameters(), surface], lr=1e-2)
    for step in range(2000):
        view = views[step % 2]
        losses = distance_losses(surface, adapter(view).flatten(0, 1), view.flatten(0, 1), weights)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    return adapter(views[0]).flatten(0, 1).detach(), surface.detach(), points


def _distinct(features: torch.Tensor) -> float:
    """Variance between points as a share of the features' whole power: zero where all are the same."""
    return float(features.var(dim=0).sum() / features.square().sum(dim=1).mean())


def _retrieval(features: torch.Tensor, points: torch.Tensor) -> float:
    """Share of points whose feature is nearest to their own."""
    similarity = torch.nn.functional.normalize(features, dim=1) @ torch.nn.functional.normalize(points, dim=1).T
    return float((similarity.argmax(dim=1) == torch.arange(len(points))).float().mean())


def test_without_anchors_the_features_collapse_and_with_them_they_do_not() -> None:
    adapted, surface, points = _train_both_branches(FeatureLossConfig(1.0, 0.0, 0.0))
    anchored_adapted, anchored_surface, _ = _train_both_branches(FeatureLossConfig(1.0, 1.0, 1.0))
    assert _retrieval(surface, points) < 0.2, "consistency alone must lose what the features said"
    assert _retrieval(anchored_surface, points) > 0.9
    assert _retrieval(anchored_adapted, points) > 0.5
    assert _distinct(anchored_surface) > 0.5
    assert _distinct(adapted) < _distinct(anchored_adapted)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_adapter_starts_as_the_identity(kernel_size: int) -> None:
    feature_map = torch.randn(4, 7, 10)
    torch.testing.assert_close(Adapter(10, 6, kernel_size)(feature_map), feature_map)


def test_adapter_learns_which_channels_to_average_over_their_neighbourhood() -> None:
    torch.manual_seed(0)
    walls = torch.randn(6, 3, 4, 2).repeat_interleave(5, dim=1).repeat_interleave(5, dim=2)
    noise = torch.tensor([1.0, 0.0])  # the first channel alone is unsure
    adapter = Adapter(2, hidden_dim=4, kernel_size=1)
    optimizer = torch.optim.Adam(adapter.parameters(), lr=2e-3)
    for _ in range(300):
        loss = (adapter(walls + noise * torch.randn_like(walls)) - walls).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    unseen = walls + noise * torch.randn_like(walls)
    before, after = ((maps - walls).square().mean(dim=(0, 1, 2)) for maps in (unseen, adapter(unseen)))
    assert after[0] < 0.6 * before[0]
    assert after[1] < 0.05


def test_the_filter_leaves_constant_maps_alone() -> None:
    torch.manual_seed(0)
    adapter, constant = Adapter(4, 3, 1), torch.randn(4).expand(6, 7, 4)
    torch.nn.init.normal_(adapter.filter.weight)
    torch.testing.assert_close(adapter(constant), constant, atol=1e-4, rtol=1e-4)
