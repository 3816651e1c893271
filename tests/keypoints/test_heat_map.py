"""Heat maps: bells around detections, the better the higher."""

from __future__ import annotations

import numpy as np

from condense_nerfstudio.keypoints.heat_map import STRIDE, heat_map


def test_a_bell_is_highest_where_the_detection_is() -> None:
    heat = heat_map(np.array([[42.0, 18.0]], dtype=np.float32), np.ones(1, dtype=np.float32), (64, 96))
    assert heat.shape == (64 // STRIDE, 96 // STRIDE)
    assert heat[4, 10] == 1.0 == heat.max()  # the centre of cell (4, 10) is pixel (42, 18)
    np.testing.assert_array_equal(heat[:, 8:13], heat[:, 8:13][:, ::-1])
    assert heat[4, 11] == np.float16(np.exp(-0.5)) and heat[12, 20] == 0


def test_worse_detections_have_lower_bells() -> None:
    pixels = np.array([[42.0, 18.0], [42.0, 50.0]], dtype=np.float32)
    heat = heat_map(pixels, np.array([0.8, 0.2], dtype=np.float32), (64, 96))
    assert heat[4, 10] == 1.0 and 0.2 < heat[12, 10] < 0.4


def test_detections_at_the_border_and_none_at_all_are_fine() -> None:
    corner = np.array([[0.1, 0.1], [95.9, 63.9]], dtype=np.float32)
    assert np.isfinite(heat_map(corner, np.ones(2, dtype=np.float32), (64, 96))).all()
    assert not heat_map(np.empty((0, 2), dtype=np.float32), np.empty(0, dtype=np.float32), (64, 96)).any()
