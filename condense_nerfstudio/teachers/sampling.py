"""Reading feature maps between the centres of their cells."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
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
    cells, weights = bilinear_weights((rows, columns), pixels, image_size)
    table = feature_map.flatten(0, 1)
    if table.dtype != pixels.dtype:
        table = table[cells.flatten()].to(pixels.dtype)
        cells = torch.arange(len(table), device=table.device).view(-1, 4)
    return weighted_rows(table, cells, weights)


def bilinear_weights(
    cells: tuple[int, int], pixels: Float[Tensor, "n 2"], image_size: tuple[int, int]
) -> tuple[Int[Tensor, "n 4"], Float[Tensor, "n 4"]]:
    """The four cells around each pixel, as rows of the flattened map, and how much each counts.

    Args:
        cells: rows and columns of the map.
        pixels: as for :func:`sample_bilinear`.
        image_size: likewise.
    """
    rows, columns = cells
    height, width = image_size
    x = (pixels[:, 0] * (columns / width) - 0.5).clamp(0, columns - 1)
    y = (pixels[:, 1] * (rows / height) - 0.5).clamp(0, rows - 1)
    left, top = x.long(), y.long()
    right, bottom = (left + 1).clamp(max=columns - 1), (top + 1).clamp(max=rows - 1)
    across, down = x - left, y - top
    above, below = top * columns, bottom * columns
    indices = torch.stack([above + left, above + right, below + left, below + right], dim=1)
    shares = [(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down]
    return indices, torch.stack(shares, dim=1)


def weighted_rows(
    table: Float[Tensor, "rows c"], indices: Int[Tensor, "n k"], weights: Float[Tensor, "n k"]
) -> Float[Tensor, "n c"]:
    """Weighted sums of rows of a table, in the type of the weights; cheaper in its gradient than plain indexing."""
    return F.embedding_bag(indices, table.to(weights.dtype), per_sample_weights=weights, mode="sum")
