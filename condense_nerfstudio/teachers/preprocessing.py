"""From an image to what a network sees."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


def network_size(height: int, width: int, resolution: int, patch_size: int) -> tuple[int, int]:
    """(height, width) in whole patches, the longer side nearest to `resolution`, the aspect ratio nearly kept."""
    scale = resolution / max(height, width)

    def whole_patches(side: int) -> int:
        return max(1, round(side * scale / patch_size)) * patch_size

    return whole_patches(height), whole_patches(width)


def network_input(
    image: Float[Tensor, "h w 3"],
    resolution: int,
    patch_size: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
) -> Float[Tensor, "1 3 hn wn"]:
    """Resizes a whole image in 0..1, antialiased, to whole patches and normalises its colours."""
    size = network_size(image.shape[0], image.shape[1], resolution, patch_size)
    pixels = image.permute(2, 0, 1)[None].float()
    pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)
    return (pixels - torch.tensor(mean, device=pixels.device).view(3, 1, 1)) / torch.tensor(
        std, device=pixels.device
    ).view(3, 1, 1)
