"""Corners of Shi and Tomasi ("Good features to track", CVPR 1994) with SIFT descriptors, by kornia: no weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import Detections, detections_of, reduced

_BLUR = 1.5
"""Standard deviation in pixels of the smoothing before corners are looked for."""
_WINDOW = 9
"""Side of the window in which a corner must be the strongest, in pixels."""
_LEAST_SHARE = 1e-3
"""Corners weaker than this share of the photograph's strongest are dropped."""
_PATCH = 32
_RECIPE_VERSION = 1
"""Raise it when a change of code changes the detections."""


class GfttDetector:
    """Upright patches of one size: for views from like distances and without roll; see the Detector protocol."""

    name = "gftt"
    dim = 128
    patch_size = _PATCH

    def __init__(self, config: DetectorConfig, device: torch.device) -> None:
        from kornia.feature import CornerGFTT, SIFTDescriptor

        self._config = config
        self._device = device
        self._corners = CornerGFTT().to(device)
        self._descriptor = SIFTDescriptor(_PATCH).to(device)

    @property
    def revision(self) -> str:
        return f"gftt-{_RECIPE_VERSION}-{self._config.resolution}-{self._config.max_keypoints}"

    @torch.no_grad()
    def detect(self, image: Float[Tensor, "h w 3"]) -> Detections:
        """Key points of a photograph; see the Detector protocol."""
        from kornia.feature import extract_patches_from_pyramid, laf_from_center_scale_ori
        from kornia.filters import gaussian_blur2d

        seen = reduced(image.to(self._device), self._config.resolution, 1)
        grey = seen.mean(dim=1, keepdim=True)
        side = int(4 * _BLUR) // 2 * 2 + 1
        strength = self._corners(gaussian_blur2d(grey, (side, side), (_BLUR, _BLUR)))
        pixels, scores = self._strongest(strength[0, 0])
        frames = laf_from_center_scale_ori(pixels[None], torch.full((1, len(pixels), 1, 1), _PATCH / 2.0))
        patches = extract_patches_from_pyramid(grey, frames.to(grey), PS=_PATCH)[0]
        descriptors = self._descriptor(patches) if len(pixels) else torch.empty(0, self.dim)
        return detections_of(pixels, scores, descriptors, seen, image)

    def _strongest(self, strength: Float[Tensor, "h w"]) -> tuple[Float[Tensor, "n 2"], Float[Tensor, " n"]]:
        """Pixels (x, y) and strength of the local maxima, away from the border."""
        from kornia.geometry.subpix import nms2d

        peaks = nms2d(strength[None, None], (_WINDOW, _WINDOW), mask_only=True)[0, 0]
        peaks &= strength > _LEAST_SHARE * strength.max()
        margin = _PATCH // 4
        inner = torch.zeros_like(peaks)
        inner[margin:-margin, margin:-margin] = True
        rows, columns = (peaks & inner).nonzero(as_tuple=True)
        scores = strength[rows, columns]
        best = scores.argsort(descending=True, stable=True)[: self._config.max_keypoints]
        return torch.stack([columns, rows], dim=1)[best].float(), scores[best]
