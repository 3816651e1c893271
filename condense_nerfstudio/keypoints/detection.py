"""What every 2D detector offers, and how a detector is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16
from torch import Tensor, nn
from torch.nn import functional

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.keypoints.heat_map import heat_map

_CLASSES = {"xfeat": "XFeatDetector", "aliked": "AlikedDetector", "gftt": "GfttDetector"}

DETECTOR_NAMES = tuple(_CLASSES)

SMALLEST_RESOLUTION = 64

_LEAST_CONTRAST = 0.02
"""Difference between the brightest and the darkest value below which a photograph counts as of one colour."""

MODEL_FLAG = "--pipeline.datamanager.detector.model"


@dataclass(frozen=True)
class Detections:
    """Key points of one photograph, the best first."""

    pixels: Float[np.ndarray, "n 2"]
    """Column and row in continuous pixel coordinates of the photograph (pixel centres at +0.5), float32."""
    scores: Float[np.ndarray, " n"]
    """How sure the detector is; comparable within one detector only. Float32."""
    descriptors: Float16[np.ndarray, "n d"]
    """Unit vectors."""
    heat: Float16[np.ndarray, "hh hw"]
    """How much each part of the photograph looks like a key point, in 0..1; see :mod:`.heat_map`."""
    image_size: tuple[int, int]
    """(height, width) of the photograph in pixels."""
    pixel_size: float
    """Side of a pixel that the detector saw, in pixels of the photograph: how finely positions are known."""

    def __len__(self) -> int:
        return len(self.pixels)


@runtime_checkable
class Detector(Protocol):
    """Finds key points in a photograph."""

    name: str
    """Its name in DetectorConfig."""
    dim: int
    """Length of a descriptor."""
    patch_size: int
    """Side, in pixels of what the detector sees, of the patch that a descriptor describes."""

    @property
    def revision(self) -> str:
        """A short hash that changes whenever the detections would: weights, options or code."""
        ...

    def detect(self, image: Float[Tensor, "h w 3"]) -> Detections:
        """Key points of a whole photograph with values in 0..1; none in one that is all of one colour."""
        ...


def load_detector(config: DetectorConfig, device: torch.device | str = "cpu") -> Detector:
    """Loads a detector.

    Raises:
        UserError: the name is unknown or "none", an option does not fit, or the weights cannot be loaded.
    """
    if config.name not in _CLASSES:
        raise UserError(f"Detector '{config.name}' cannot be loaded: choose one of {', '.join(DETECTOR_NAMES)}.")
    if config.resolution < SMALLEST_RESOLUTION:
        raise UserError(
            f"A resolution of {config.resolution} pixels is too small for detector {config.name}: give "
            f"--pipeline.datamanager.detector.resolution at least {SMALLEST_RESOLUTION}."
        )
    if config.max_keypoints < 1:
        raise UserError("--pipeline.datamanager.detector.max-keypoints is below 1: give a positive number.")
    module = import_module(f"condense_nerfstudio.keypoints.{config.name}")
    return getattr(module, _CLASSES[config.name])(config, torch.device(device))


def reduced(image: Float[Tensor, "h w 3"], resolution: int, multiple: int) -> Float[Tensor, "1 3 hr wr"]:
    """A photograph as a detector sees it: reduced, antialiased, to sides that are multiples of a number.

    Args:
        image: values in 0..1.
        resolution: longest side in pixels; smaller photographs keep their size, up to the rounding.
        multiple: what both sides shall be divisible by.
    """
    scale = min(1.0, resolution / max(image.shape[:2]))
    size = [max(1, round(side * scale / multiple)) * multiple for side in image.shape[:2]]
    pixels = image.permute(2, 0, 1)[None].float()
    if size == list(image.shape[:2]):
        return pixels
    return functional.interpolate(pixels, size, mode="bilinear", antialias=True, align_corners=False)


def detections_of(
    pixels: Float[Tensor, "n 2"],
    scores: Float[Tensor, " n"],
    descriptors: Float[Tensor, "n d"],
    seen: Float[Tensor, "1 3 hr wr"],
    image: Float[Tensor, "h w 3"],
) -> Detections:
    """Detections in the photograph's pixels, from those in what the detector saw.

    Args:
        pixels: of the key points in what the detector saw, with pixel centres at whole numbers (kornia's convention).
        scores: of the key points; those that are not finite, or whose descriptor is not, are dropped.
        descriptors: unit vectors.
        seen: what the detector saw.
        image: the photograph.
    """
    finite = descriptors.isfinite().all(dim=1) & scores.isfinite() & (scores > 0)
    finite &= float(seen.max() - seen.min()) > _LEAST_CONTRAST  # networks find something in a black photograph too
    order = scores.masked_fill(~finite, -1.0).argsort(descending=True, stable=True)[: int(finite.sum())]
    found = (pixels[order].float() + 0.5).cpu().numpy()
    quality = scores[order].float().cpu().numpy()
    ratio = np.array([image.shape[1] / seen.shape[3], image.shape[0] / seen.shape[2]], dtype=np.float32)
    return Detections(
        pixels=found * ratio,
        scores=quality,
        descriptors=descriptors[order].half().cpu().numpy(),
        heat=heat_map(found, quality, (seen.shape[2], seen.shape[3])),
        image_size=(image.shape[0], image.shape[1]),
        pixel_size=float(ratio.max()),
    )


def load_weights(network: nn.Module, path: str, detector: str, may_lack: tuple[str, ...] = ()) -> None:
    """Loads a file of weights into a network, without running code from it.

    Args:
        network: what the weights are for.
        path: the file.
        detector: its name, for messages.
        may_lack: buffers that the network makes itself.

    Raises:
        UserError: the file is missing or holds something else.
    """
    # torch raises a dozen unrelated types for a broken file.
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        report = network.load_state_dict(state, strict=False)
        wrong = [*report.unexpected_keys, *(key for key in report.missing_keys if key not in may_lack)]
        if wrong:
            raise ValueError(f"{wrong[0]} is missing or unknown")
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".:")
        raise UserError(
            f"Detector {detector}: {path} cannot be loaded ({reason}): give {MODEL_FLAG} a file of its weights."
        ) from error
