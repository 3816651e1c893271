"""What the viewer's pictures show."""

from __future__ import annotations

import pytest
import torch

from condense_nerfstudio.viewer.lens import (
    COLORS,
    MOST_PHRASES,
    SWATCHES,
    ViewOutputs,
    answer_layer,
    blended,
    fitted,
    similarity_layer,
)
from condense_nerfstudio.viewer.session import escaped


def test_there_is_a_colour_and_a_swatch_for_every_phrase() -> None:
    assert len(COLORS) == len(SWATCHES) == MOST_PHRASES and len(set(COLORS)) == len(set(SWATCHES)) == MOST_PHRASES


def test_a_pixel_has_the_colour_of_the_phrase_that_it_answers_best() -> None:
    relevancy = torch.tensor([[0.9, 0.2], [0.1, 0.6], [0.1, 0.05]])
    colors, strength = answer_layer(relevancy, threshold=0.3)
    torch.testing.assert_close(colors[:2], torch.tensor(COLORS[:2]))
    assert strength[:, 0].tolist() == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("threshold", [0.0, 0.18, 0.5, 1.0])
def test_half_of_the_strength_is_at_the_threshold(threshold: float) -> None:
    relevancy = torch.linspace(0, 1, 101)[:, None]
    _, strength = answer_layer(relevancy, threshold)
    above = relevancy > threshold + 1e-4
    assert (strength[above] > 0.5).all() and (strength[relevancy < threshold - 1e-4] < 0.5).all()
    assert torch.isfinite(strength).all()


def test_an_overlay_leaves_what_is_not_strong_as_it_is() -> None:
    rgb, colors = torch.rand(3, 3), torch.rand(3, 3)
    strength = torch.tensor([[0.0], [0.5], [1.0]])
    result = blended(rgb, colors, strength, opacity=0.8)
    torch.testing.assert_close(result[0], rgb[0])
    torch.testing.assert_close(result[2], 0.2 * rgb[2] + 0.8 * colors[2])


def test_similarity_is_seen_where_it_is_high() -> None:
    colors, strength = similarity_layer(torch.tensor([[0.0], [0.5], [1.0]]))
    assert strength[:, 0].tolist() == [0.0, 0.5, 1.0] and colors.shape == (3, 3)


def test_a_missing_output_is_shown_as_colour() -> None:
    view = ViewOutputs({"rgb": torch.zeros(1, 1, 3), "depth": torch.ones(1, 1, 1)})
    assert view["relevancy_3"] is view["rgb"] and view["depth"].item() == 1 and "relevancy_3" not in view


def test_fitted_colours_span_the_view_and_are_the_same_again() -> None:
    torch.manual_seed(0)
    features = torch.randn(500, 12) * torch.linspace(3.0, 0.1, 12) + 5.0
    projection = fitted(features)
    colors = projection.colors(features)
    assert colors.std(dim=0).min() > 0.15 and (colors.mean(dim=0) - 0.5).abs().max() < 0.05
    # The same view in another order of rays: neither the order nor the sign of an axis may flip its colours.
    again = fitted(features.flip(0)).colors(features)
    torch.testing.assert_close(again, colors, atol=1e-3, rtol=0)
    reference = (features - features.mean(dim=0)) @ torch.linalg.eigh(torch.cov(features.T))[1].flip(1)[:, :3]
    correlation = torch.corrcoef(torch.cat([reference, (features - projection.mean) @ projection.basis], dim=1).T)
    assert correlation[:3, 3:].diagonal().abs().min() > 0.999


def test_a_view_of_one_feature_only_is_grey() -> None:
    projection = fitted(torch.ones(2, 12))
    torch.testing.assert_close(projection.colors(torch.ones(2, 12)), torch.full((2, 3), 0.5))


@pytest.mark.parametrize("text", ["a {cat}", "<b>", "`x`", "a * b _ c", "# no title", "1. no list", "$x$", "[a](b)"])
def test_what_people_type_is_no_program(text: str) -> None:
    shown = escaped(text)
    assert shown.replace("\\", "") == text
    for character in "{}<>`*_[]$#":
        assert shown.count(character) == shown.count("\\" + character)
