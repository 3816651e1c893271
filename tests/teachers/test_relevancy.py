import pytest
import torch
from torch.nn import functional

from condense_nerfstudio.teachers.relevancy import relevancy

AXES = torch.eye(4)


def test_matches_lerf_formula_phrase_by_phrase():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(5, 3, 8, generator=generator)
    phrases = functional.normalize(torch.randn(2, 8, generator=generator), dim=-1)
    canonical = functional.normalize(torch.randn(4, 8, generator=generator), dim=-1)
    expected = torch.empty(5, 3, 2)
    unit = functional.normalize(features, dim=-1)
    for p, phrase in enumerate(phrases):
        pairs = torch.stack([torch.stack([unit @ phrase, unit @ neutral], -1) for neutral in canonical])
        expected[..., p] = (10 * pairs).softmax(-1)[..., 0].amin(0)
    torch.testing.assert_close(relevancy(features, phrases, canonical), expected)


def test_feature_equal_to_phrase_scores_high_and_equal_to_neutral_scores_low():
    scores = relevancy(AXES[:2], AXES[:1], AXES[1:3])
    assert scores[0, 0] == pytest.approx(torch.tensor(10.0).sigmoid().item())
    assert scores[1, 0] == pytest.approx(torch.tensor(-10.0).sigmoid().item())


def test_each_phrase_keeps_its_own_score():
    together = relevancy(AXES, AXES[:2], AXES[2:3])
    alone = torch.cat([relevancy(AXES, AXES[p : p + 1], AXES[2:3]) for p in range(2)], dim=-1)
    torch.testing.assert_close(together, alone)
    assert together[0].argmax() == 0 and together[1].argmax() == 1


def test_strongest_neutral_phrase_decides():
    weak, strong = AXES[2:3], AXES[:1]
    assert relevancy(AXES[:1], AXES[:1], torch.cat([weak, strong])).item() == pytest.approx(0.5)


def test_length_of_features_does_not_matter_and_zero_is_undecided():
    torch.testing.assert_close(relevancy(7 * AXES, AXES[:1], AXES[1:]), relevancy(AXES, AXES[:1], AXES[1:]))
    assert relevancy(torch.zeros(4), AXES[:1], AXES[1:]).item() == 0.5


def test_higher_temperature_sharpens():
    feature = functional.normalize(torch.tensor([[1.0, 0.5, 0.0, 0.0]]), dim=-1)
    cold, warm = (relevancy(feature, AXES[:1], AXES[1:2], temperature) for temperature in (20.0, 5.0))
    assert cold > warm > 0.5
