"""The bound on false alarms."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.keypoints.confidence import confidence


@pytest.mark.parametrize("chance", [1e-9, 0.001, 0.1, 0.9, 1.0, 1.5])
@pytest.mark.parametrize("matches", [4, 20, 1000, 10**6])
def test_it_lies_between_0_and_1(matches: int, chance: float) -> None:
    for inliers in {0, 3, 4, matches // 2, matches}:
        assert 0.0 <= confidence(matches, inliers, 3, chance) <= 1.0


@pytest.mark.parametrize("sample", [2, 3, 4])
def test_it_is_zero_up_to_the_sample(sample: int) -> None:
    for matches in (sample, sample + 1, 100):
        for inliers in range(sample + 1):
            assert confidence(matches, inliers, sample, 1e-6) == 0.0


def test_nothing_matched_is_nothing_known() -> None:
    assert confidence(0, 0, 3, 0.01) == 0.0


@pytest.mark.parametrize("chance", [0.0002, 0.003, 0.1])
@pytest.mark.parametrize("matches", [10, 100, 5000])
def test_it_grows_with_the_inliers(matches: int, chance: float) -> None:
    values = [confidence(matches, inliers, 3, chance) for inliers in range(min(matches, 1000) + 1)]
    assert (np.diff(values) >= 0).all()


@pytest.mark.parametrize("chance", [0.0002, 0.003, 0.1])
@pytest.mark.parametrize("inliers", [5, 10, 20])
def test_it_falls_with_the_matches(inliers: int, chance: float) -> None:
    values = [confidence(matches, inliers, 3, chance) for matches in range(inliers, 5000, 7)]
    assert (np.diff(values) <= 0).all() and values[0] > values[-1]


def test_it_falls_with_the_chance() -> None:
    values = [confidence(100, 8, 3, chance) for chance in np.logspace(-5, 0, 50)]
    assert (np.diff(values) <= 0).all() and values[0] > 0.99 and values[-1] == 0.0


def test_many_that_agree_are_believed_and_few_are_not() -> None:
    assert confidence(100, 50, 3, 0.003) > 0.999
    assert confidence(1000, 8, 3, 0.003) == 0.0


@pytest.mark.parametrize("sample", [1, 2])
@pytest.mark.parametrize("chance", [0.02, 0.1])
def test_false_alarms_are_as_rare_as_it_says(sample: int, chance: float) -> None:
    matches, trials = 12, 5000
    poses = {1: 12, 2: 66}[sample]
    others = np.random.default_rng(0).binomial(matches - sample, chance, (trials, poses)).max(axis=1)
    sure = np.array([confidence(matches, int(k) + sample, sample, chance) for k in others])
    for level in (0.5, 0.9, 0.99):
        assert (sure > level).mean() <= 1 - level + 0.01
