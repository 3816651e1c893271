"""The views that are rendered for people: held-out photographs, or a path made in the viewer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from nerfstudio.cameras.camera_paths import get_path_from_json
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.pipeline import CondensePipeline

LARGEST_SIDE = 8192
"""Pixels; what a camera path may ask for at most."""

_STILLS_PER_SECOND = 2.0


@dataclass
class Shot:
    """What to render."""

    name: str
    """What its files begin with."""
    camera: Cameras
    """Of shape (1,)."""
    photograph: Float[Tensor, "h w 3"] | None = None
    """What the view looks like in truth, in 0..1."""
    rate: float = _STILLS_PER_SECOND
    """Views of its kind that a video shows in a second."""


def held_out_shots(pipeline: CondensePipeline) -> list[Shot]:
    """The photographs that were kept for evaluation."""
    manager = pipeline.datamanager
    return [
        Shot(manager.eval_dataset.image_filenames[batch["image_idx"]].stem, camera, batch["image"][..., :3])
        for camera, batch in manager.fixed_indices_eval_dataloader
    ]


def camera_path_shots(file: Path, device: torch.device | str) -> list[Shot]:
    """The views of a camera path, as the viewer's Render tab saves it.

    Raises:
        UserError: the file is missing or no camera path.
    """
    try:
        path = json.loads(file.read_text())
        cameras = get_path_from_json(path)
        rate = float(path.get("fps", _STILLS_PER_SECOND))
        sides = int(path["render_height"]), int(path["render_width"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{file} is no camera path ({reason}): save one in the viewer's Render tab.") from error
    if not len(cameras.camera_to_worlds) or not torch.isfinite(cameras.camera_to_worlds).all():
        raise UserError(f"{file} has no camera, or one whose pose is not finite: save it again in the viewer.")
    if not (min(sides) > 0 and max(sides) <= LARGEST_SIDE and 0 < rate <= 1000):
        raise UserError(
            f"{file} asks for {sides[1]}x{sides[0]} pixels, {rate:g} a second: save it again in the viewer."
        )
    cameras = cameras.to(device)
    return [Shot(f"frame_{i:05d}", cameras[i : i + 1], rate=rate) for i in range(len(cameras.camera_to_worlds))]
