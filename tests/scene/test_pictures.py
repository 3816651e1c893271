"""Pictures, and the judging of answers, on hand-made outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from condense_nerfstudio.scene.pictures import overlay, peak, pictures_of_view, sheet
from condense_nerfstudio.scene.questions import judge


def test_overlay_keeps_colour_where_the_phrase_is_answered() -> None:
    rgb = torch.tensor([1.0, 0.0, 0.0]).expand(1, 3, 3)
    relevancy = torch.tensor([0.9, 0.56, 0.44]).reshape(1, 3, 1)
    shown = overlay(rgb, relevancy, threshold=0.5)
    torch.testing.assert_close(shown[0, :2], rgb[0, :2])
    assert shown[0, 2].std() < 1e-6, "grey elsewhere"


def test_peak_is_column_and_row_of_the_highest_relevancy() -> None:
    relevancy = torch.zeros(4, 6, 1)
    relevancy[1, 5] = 0.75
    assert peak(relevancy) == {"relevancy": 0.75, "pixel": [5, 1]}


def _outputs() -> dict[str, torch.Tensor]:
    return {
        "rgb": torch.rand(8, 10, 3),
        "depth": torch.rand(8, 10, 1),
        "accumulation": torch.ones(8, 10, 1),
        "dinov2_pca": torch.rand(8, 10, 3),
        "relevancy_0": torch.rand(8, 10, 1),
    }


def test_every_output_becomes_an_eight_bit_picture() -> None:
    pictures = pictures_of_view(_outputs(), torch.rand(8, 10, 3), ["a cat"], threshold=0.5)
    assert set(pictures) == {"photograph", "rgb", "depth", "dinov2_pca", "relevancy_0", "overlay_0"}
    assert all(picture.shape == (8, 10, 3) and picture.dtype == np.uint8 for picture in pictures.values())


def test_a_sheet_holds_the_pictures_side_by_side_under_their_captions() -> None:
    pictures = pictures_of_view(_outputs(), torch.rand(8, 10, 3), [], threshold=0.5)
    image = sheet(pictures, {"photograph": "p", "rgb": "r", "depth": "d"})
    assert image.width == 30 and image.height > 8
    np.testing.assert_array_equal(np.asarray(image)[-8:, 10:20], pictures["rgb"])


@pytest.mark.parametrize(
    ("threshold", "iou"),
    [(0.5, 2 / 5), (0.95, 0.0), (0.05, 4 / 9)],
)
def test_answers_are_judged_by_peak_and_overlap(threshold: float, iou: float) -> None:
    relevancy = torch.full((3, 3), 0.1)
    relevancy[0] = torch.tensor([0.9, 0.6, 0.6])
    on_object = np.zeros((3, 3), dtype=bool)
    on_object[0, :2] = on_object[1, :2] = True
    answer = judge("a cat", relevancy, on_object, threshold)
    assert answer.peak_on_object
    assert answer.iou == pytest.approx(iou)


def test_a_peak_beside_the_object_is_wrong() -> None:
    relevancy = torch.eye(3)
    relevancy[2, 2] = 2.0
    on_object = np.zeros((3, 3), dtype=bool)
    on_object[0, 0] = True
    assert not judge("a cat", relevancy, on_object, 0.5).peak_on_object
