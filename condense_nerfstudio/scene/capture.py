"""Checks a capture in nerfstudio's format before it is parsed, and mends what can be mended."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nerfstudio.data.dataparsers.base_dataparser import DataparserOutputs

from condense_nerfstudio.errors import UserError

RIGID_TOLERANCE = 1e-2


def check_capture(data: Path) -> None:
    """Checks a data folder and, where there is one, its transforms.json.

    Folders of other formats (without transforms.json) are left to their own data parsers.

    Args:
        data: the data folder, or a transforms.json itself.

    Raises:
        UserError: the folder is missing or empty; transforms.json is not JSON, has no or one frame only, or has a pose
            that is not finite or not rigid.
    """
    if not data.exists():
        raise UserError(
            f"Data folder {data} does not exist: pass --data FOLDER with transforms.json and images, or, if a trained "
            "scene's data has moved, mend the path in its config.yml."
        )
    if data.is_dir() and not any(data.iterdir()):
        raise UserError(f"Data folder {data} is empty: pass --data FOLDER with transforms.json and images.")
    path = data if data.suffix == ".json" else data / "transforms.json"
    if not path.exists():
        return
    frames = _read_frames(path)
    if len(frames) == 0:
        raise UserError(f"{path} lists no frames: run ns-process-data on the images first.")
    if len(frames) == 1:
        raise UserError(f"{path} lists one image only: a scene needs at least two, one of them kept for evaluation.")
    for frame in frames:
        _check_pose(path, frame)


def _read_frames(path: Path) -> list[dict[str, Any]]:
    try:
        meta = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} is not readable JSON ({error}): mend it, or make it again with ns-process-data."
        ) from error
    frames = meta.get("frames") if isinstance(meta, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) and "file_path" in frame for frame in frames):
        raise UserError(
            f"{path} has no list 'frames' of images with 'file_path': mend it, or make it again with ns-process-data."
        )
    return frames


def _check_pose(path: Path, frame: dict[str, Any]) -> None:
    """A pose must be a finite rotation and translation; a uniform scale would bend every depth."""
    fault = None
    try:
        pose = np.asarray(frame.get("transform_matrix"), dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape not in ((4, 4), (3, 4)):
        fault = "is not a 4x4 matrix"
    elif not np.isfinite(pose).all():
        fault = "has values that are not finite"
    else:
        rotation = pose[:3, :3]
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > RIGID_TOLERANCE or np.linalg.det(rotation) < 0:
            fault = "is not a rotation and a translation"
    if fault:
        raise UserError(f"{path}: the pose of {frame['file_path']} {fault}: correct it or remove the frame.")


def select_frames(outputs: DataparserOutputs, keep: list[int]) -> DataparserOutputs:
    """A copy of a data parser's outputs with some of the frames, in the given order.

    Args:
        outputs: the parsed capture; it is not changed.
        keep: indices of the frames to keep.
    """
    per_frame = len(outputs.image_filenames)
    masks = outputs.mask_filenames
    metadata = {
        key: [value[i] for i in keep] if isinstance(value, list) and len(value) == per_frame else value
        for key, value in outputs.metadata.items()
    }
    return DataparserOutputs(
        image_filenames=[outputs.image_filenames[i] for i in keep],
        cameras=outputs.cameras[torch.tensor(keep, dtype=torch.long)],
        alpha_color=outputs.alpha_color,
        scene_box=outputs.scene_box,
        mask_filenames=[masks[i] for i in keep] if masks else masks,
        metadata=metadata,
        dataparser_transform=outputs.dataparser_transform,
        dataparser_scale=outputs.dataparser_scale,
    )


def without_missing_images(outputs: DataparserOutputs, skip: bool) -> DataparserOutputs:
    """Drops the frames whose image file does not exist, if that is wanted.

    Args:
        outputs: the parsed capture.
        skip: whether to go on without the missing images.

    Raises:
        UserError: images are missing and `skip` is false, or none is left.
    """
    missing = [path for path in outputs.image_filenames if not path.exists()]
    if not missing:
        return outputs
    if len(missing) == len(outputs.image_filenames) or not skip:
        named = ", ".join(str(path) for path in missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise UserError(
            f"{len(missing)} of {len(outputs.image_filenames)} images do not exist ({named}): restore them, or pass "
            "--pipeline.datamanager.skip-missing-images True to go on without them (drop --downscale-factor if there "
            "is no folder of reduced images: they are reduced while loading)."
        )
    gone = set(missing)
    return select_frames(outputs, [i for i, path in enumerate(outputs.image_filenames) if path not in gone])


def keep_one_for_evaluation(train: DataparserOutputs) -> tuple[DataparserOutputs, DataparserOutputs]:
    """Splits off the middle frame for evaluation, for captures too small for the data parser's own split.

    Args:
        train: at least two frames.

    Returns:
        The frames left for training, and the one for evaluation.
    """
    count = len(train.image_filenames)
    held_out = math.floor(count / 2)
    return select_frames(train, [i for i in range(count) if i != held_out]), select_frames(train, [held_out])
