"""Feature heads: sample selection, rendering, and the linear decoder that commutes with it."""

from __future__ import annotations

import numpy as np
import torch

from condense_nerfstudio.scene.field import GridConfig
from condense_nerfstudio.scene.heads import FeatureField, TeacherHead, heaviest_points, heaviest_samples
from condense_nerfstudio.teachers.statistics import feature_statistics

SMALL_GRID = GridConfig(num_levels=2, log2_hashmap_size=8, base_resolution=4, max_resolution=8)


def test_heaviest_samples_keep_the_weight_of_the_ray() -> None:
    weights = torch.tensor([[0.1, 0.5, 0.0, 0.3], [0.0, 0.0, 0.0, 0.0]])
    kept, indices = heaviest_samples(weights, 2)
    torch.testing.assert_close(kept.sum(dim=1), torch.tensor([0.9, 0.0]))
    assert set(indices[0].tolist()) == {1, 3}
    assert torch.isfinite(kept).all()


def test_all_samples_are_kept_where_fewer_are_there_than_asked() -> None:
    weights = torch.rand(3, 4)
    kept, indices = heaviest_samples(weights, 10)
    torch.testing.assert_close(kept, weights.gather(1, indices))


def test_rendering_commutes_with_decoding() -> None:
    torch.manual_seed(0)
    field = FeatureField(SMALL_GRID, 8, {"teacher": 5, "other": 3}, backend="torch")
    positions, weights = torch.rand(6, 7, 3), torch.rand(6, 7)
    rendered = field.render(*heaviest_points(positions, weights, 7))
    assert list(rendered) == ["teacher", "other"]
    for name, dim in (("teacher", 5), ("other", 3)):
        decoder = torch.nn.Linear(dim, 11, bias=False)
        once_a_sample = (weights[..., None] * decoder(field(positions)[name])).sum(dim=1)
        torch.testing.assert_close(decoder(rendered[name]), once_a_sample)


def _head_of(maps: list[np.ndarray]) -> TeacherHead:
    head = TeacherHead(dim=5, feature_dim=4, adapter_dim=3, adapter_kernel=3)
    head.start_from(feature_statistics(maps, 5))
    return head


def test_colors_are_grey_at_the_mean_and_spread_over_the_range() -> None:
    random = np.random.default_rng(0)
    maps = [(random.normal(size=(6, 8, 5)) * [5.0, 3.0, 1.0, 0.5, 0.1] + 7.0).astype(np.float32) for _ in range(4)]
    head = _head_of(maps)
    torch.testing.assert_close(head.colors(head.center(head.mean)), torch.full((3,), 0.5))
    colors = head.colors(head.center(torch.from_numpy(maps[0])))
    assert 0 <= colors.min() < 0.3 and 0.7 < colors.max() <= 1
    torch.testing.assert_close(head.uncenter(head.center(torch.from_numpy(maps[0]))), torch.from_numpy(maps[0]))


def test_identical_features_stay_finite() -> None:
    features = np.full((2, 2, 5), 3.0, np.float32)
    head = _head_of([features])
    centred = head.center(torch.from_numpy(features))
    assert torch.isfinite(centred).all()
    torch.testing.assert_close(head.colors(centred), torch.full((2, 2, 3), 0.5))
