"""Posed photographs of a scene as a small file, so that cross-scene training opens no NeRF."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nerfstudio.cameras.cameras import Cameras

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import write_json

VERSION = 1
_FORMAT = "condense views"
_INTRINSICS = ("fx", "fy", "cx", "cy", "width", "height", "camera_type")
_DISTORTION = 6


@dataclass(frozen=True)
class Views:
    """Photographs of a scene and their cameras, in nerfstudio's frame, where the training has moved them to."""

    images: list[Path]
    cameras: Cameras
    """One for each photograph."""
    held_out: list[bool]
    """Whether the NeRF was trained without the photograph."""

    def indices(self, held_out: bool) -> list[int]:
        """The photographs of one kind."""
        return [i for i, value in enumerate(self.held_out) if value == held_out]

    def image_size(self, index: int) -> tuple[int, int]:
        """Height and width to which the camera's pixels belong."""
        return int(self.cameras.height[index]), int(self.cameras.width[index])


def write_views(views: Views, path: Path) -> None:
    """Writes views, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    cameras = views.cameras
    rows = []
    for i, (image, held_out) in enumerate(zip(views.images, views.held_out, strict=True)):
        row: dict[str, Any] = {"image": str(image.resolve()), "held_out": held_out}
        row |= {name: getattr(cameras, name)[i].item() for name in _INTRINSICS}
        row["camera_to_world"] = cameras.camera_to_worlds[i].double().tolist()
        if cameras.distortion_params is not None:
            row["distortion"] = cameras.distortion_params[i].double().tolist()
        rows.append(row)
    write_json(path, {"format": _FORMAT, "version": VERSION, "frame": "nerfstudio", "views": rows})


def read_views(path: Path) -> Views:
    """Opens views.

    Raises:
        UserError: the file is missing or not as :func:`write_views` writes it.
    """
    try:
        content = json.loads(path.read_text())
        if content["format"] != _FORMAT or content["version"] != VERSION or not content["views"]:
            raise ValueError("another kind or version of file")
        rows = content["views"]
        pose = torch.tensor([row["camera_to_world"] for row in rows], dtype=torch.float32).reshape(-1, 3, 4)
        values: dict[str, Any] = {name: torch.tensor([row[name] for row in rows])[:, None] for name in _INTRINSICS}
        distortion = None
        if "distortion" in rows[0]:
            distortion = torch.tensor([row["distortion"] for row in rows], dtype=torch.float32).reshape(-1, _DISTORTION)
        cameras = Cameras(camera_to_worlds=pose, distortion_params=distortion, **values)
        return Views([Path(row["image"]) for row in rows], cameras, [bool(row["held_out"]) for row in rows])
    except OSError as error:
        raise UserError(f"Views {path} cannot be read ({error.strerror}): delete the scene's folder.") from error
    except (ValueError, LookupError, TypeError, RuntimeError, AssertionError, RecursionError) as error:
        raise UserError(f"Views {path} are broken ({error}): delete the file, and it is made again.") from error
