import numpy as np
import pytest
import torch

from condense_nerfstudio.teachers.statistics import feature_statistics


def random_maps() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    spread = np.array([5.0, 3.0, 1.0, 0.5, 0.1])
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    shapes = [(4, 6), (5, 3), (1, 9), (10, 10)]
    return [((rng.normal(size=(*s, 5)) * spread) @ rotation.T + 7).astype(np.float32) for s in shapes]


def test_streamed_result_is_that_of_all_features_at_once():
    maps = random_maps()
    features = np.concatenate([m.reshape(-1, 5) for m in maps]).astype(np.float64)
    statistics = feature_statistics(iter(maps), 3)
    covariance = np.cov(features.T, bias=True)
    np.testing.assert_allclose(statistics.mean, features.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.eigenvalues, np.linalg.eigvalsh(covariance)[::-1][:3], rtol=1e-5)
    assert statistics.total_variance == pytest.approx(np.trace(covariance))
    np.testing.assert_allclose(
        covariance @ statistics.basis.numpy(), statistics.basis * statistics.eigenvalues, atol=1e-5
    )


def test_basis_is_orthonormal_even_with_fewer_features_than_components():
    basis = feature_statistics([np.eye(6)[:2, None].astype(np.float16)], 5).basis
    torch.testing.assert_close(basis.T @ basis, torch.eye(5), atol=1e-5, rtol=0)


def test_largest_component_of_each_direction_is_positive_whatever_the_order():
    maps = random_maps()
    forward, backward = feature_statistics(maps, 4), feature_statistics(maps[::-1], 4)
    assert (forward.basis.gather(0, forward.basis.abs().argmax(0, keepdim=True)) > 0).all()
    torch.testing.assert_close(forward.basis, backward.basis)


def test_identical_features_have_no_spread():
    statistics = feature_statistics([np.full((2, 2, 4), 3.0, np.float16)], 3)
    assert statistics.total_variance == pytest.approx(0)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="6 components of 5 channels"):
        feature_statistics(random_maps(), 6)
    with pytest.raises(ValueError, match="no feature map"):
        feature_statistics([], 2)
