"""Reading feature maps between the centres of their cells."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def sample_bilinear(
    feature_map: Float[Tensor, "hp wp c"],
    pixels: Float[Tensor, "n 2"],
    image_size: tuple[int, int],
) -> Float[Tensor, "n c"]:
    """Features at pixels of the image that a feature map covers, bilinear, clamped beyond the outermost centres.

    The same as grid_sample with padding_mode="border" and align_corners=False, but it touches only the cells it needs,
    so that a memory-mapped half-precision map is neither read nor converted whole.

    Args:
        feature_map: as from Teacher.encode_image, of any floating type.
        pixels: continuous (x, y) coordinates in pixels, pixel centres at +0.5.
        image_size: (height, width) of the image in pixels.

    Returns:
        Features in the type of `pixels`.
    """
    rows, columns = feature_map.shape[:2]
    height, width = image_size
    x = (pixels[:, 0] * (columns / width) - 0.5).clamp(0, columns - 1)
    y = (pixels[:, 1] * (rows / height) - 0.5).clamp(0, rows - 1)
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=columns - 1), (top + 1).clamp(max=rows - 1)
    right_weight, bottom_weight = (x - left)[:, None], (y - top)[:, None]

    def between(row: Tensor) -> Tensor:
        at_left, at_right = feature_map[row, left].to(pixels.dtype), feature_map[row, right].to(pixels.dtype)
        return at_left + (at_right - at_left) * right_weight

    above, below = between(top), between(bottom)
    return above + (below - above) * bottom_weight
