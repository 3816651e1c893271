"""ALIKED-n16 (Zhao et al., IEEE TIM 2023), by kornia, with weights from a file or a download."""

from __future__ import annotations

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.detection import MODEL_FLAG, Detections, detections_of, load_weights, reduced
from condense_nerfstudio.teachers.weights import weights_revision

_THRESHOLD = 0.2
_RECIPE_VERSION = 1
"""Raise it when a change of code changes the detections."""


class AlikedDetector:
    """128 numbers a key point, more precise than XFeat and twenty times as slow; see the Detector protocol.

    Raises:
        UserError: the weights cannot be had.
    """

    name = "aliked"
    dim = 128
    patch_size = 32

    def __init__(self, config: DetectorConfig, device: torch.device) -> None:
        self._config = config
        self._device = device
        self._network = _load(config).eval().requires_grad_(False).to(device)

    @cached_property
    def revision(self) -> str:
        recipe = f"aliked {_RECIPE_VERSION} {self._config.resolution} {self._config.max_keypoints}"
        return weights_revision([self._network], recipe)

    @torch.no_grad()
    def detect(self, image: Float[Tensor, "h w 3"]) -> Detections:
        """Key points of a photograph; see the Detector protocol."""
        seen = reduced(image.to(self._device), self._config.resolution, 1)
        (found,) = self._network(seen)
        return detections_of(found.keypoints, found.keypoint_scores, found.descriptors, seen, image)


def _load(config: DetectorConfig) -> nn.Module:
    """The network with the weights of a file, or with those that kornia keeps or downloads."""
    from kornia.feature import ALIKED

    options = {"max_num_keypoints": config.max_keypoints, "detection_threshold": _THRESHOLD}
    if config.model is not None:
        network = ALIKED("aliked-n16", **options)
        load_weights(network, config.model, "aliked", may_lack=("dkd.hw_grid",))
        return network
    try:
        return ALIKED.from_pretrained("aliked-n16", **options)
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"Detector aliked: its weights cannot be downloaded ({error}): give {MODEL_FLAG} aliked-n16.pth, or use "
            "--pipeline.datamanager.detector.name xfeat."
        ) from error
