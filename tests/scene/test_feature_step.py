"""The feature losses of a step: the same whether maps are of one size (one product) or of several (one by one)."""

from __future__ import annotations

import pytest
import torch

from condense_nerfstudio.scene import feature_step
from condense_nerfstudio.scene.data_manager import FeatureTarget
from condense_nerfstudio.scene.feature_step import BranchMaps, branch_maps, feature_losses
from condense_nerfstudio.scene.heads import TeacherHead
from condense_nerfstudio.scene.loss_config import FeatureLossConfig
from condense_nerfstudio.scene.surface import Surface

SIZES = {"same": [(4, 6), (4, 6)], "different": [(4, 6), (3, 5)]}


def step(sizes: list[tuple[int, int]]) -> tuple[dict[str, torch.Tensor], TeacherHead]:
    torch.manual_seed(0)
    head = TeacherHead(dim=5, feature_dim=4, adapter_dim=3, adapter_kernel=3)
    torch.nn.init.normal_(head.adapter.up.weight)
    targets = [
        FeatureTarget(slice(10 * i, 10 * i + 10), torch.rand(10, 2) * 40, (40, 60), {"teacher": torch.randn(*size, 5)})
        for i, size in enumerate(sizes)
    ]
    surface = Surface(torch.randn(20, 3), torch.full((20,), 0.01), torch.arange(20) < 15)
    rendered = {"teacher": torch.randn(20, 5, requires_grad=True)}
    maps = branch_maps({"teacher": head}, targets)
    return feature_losses(maps, rendered, targets, surface, FeatureLossConfig()), head


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_every_term_is_finite_and_trains_the_adapter(sizes: list[tuple[int, int]]) -> None:
    losses, head = step(sizes)
    assert set(losses) == {f"teacher_{term}" for term in ("consistency", "anchor_2d", "anchor_3d", "contrast")}
    torch.stack(list(losses.values())).sum().backward()
    gradients = [p.grad for p in head.adapter.parameters()]
    assert all(g is not None and g.isfinite().all() and g.any() for g in gradients)


def test_maps_of_one_size_may_as_well_be_taken_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    together, _ = step(SIZES["same"])
    monkeypatch.setattr(feature_step, "_batches", lambda maps: [m[None] for m in maps])
    one_by_one, _ = step(SIZES["same"])
    torch.testing.assert_close(together, one_by_one)


@pytest.mark.parametrize(("whole_cells", "read"), [(True, [[1, 2]]), (False, [[1, 2], [1, 3], [2, 2], [2, 3]])])
def test_a_pixel_is_answered_by_its_cell_or_by_the_four_around_it(whole_cells: bool, read: list[list[int]]) -> None:
    adapted = torch.randn(1, 3, 4, 5, requires_grad=True)
    pixel = torch.tensor([[29.0, 19.5]])  # in the third of four columns and the second of three rows, off its centre
    target = FeatureTarget(slice(0, 1), pixel, (30, 40), {"teacher": torch.randn(3, 4, 5)})
    surface = Surface(torch.zeros(1, 3), torch.ones(1), torch.ones(1, dtype=torch.bool))
    maps = {"teacher": BranchMaps([torch.randn(1, 3, 4, 5)], [adapted])}
    config = FeatureLossConfig(whole_cells=whole_cells)
    losses = feature_losses(maps, {"teacher": torch.randn(1, 5)}, [target], surface, config)
    losses["teacher_consistency"].backward()
    assert adapted.grad is not None
    assert adapted.grad[0].any(dim=-1).nonzero().tolist() == read
