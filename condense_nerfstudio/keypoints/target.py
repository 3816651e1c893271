"""Where a condensed scene is going to be written: checked before any work is done."""

from __future__ import annotations

import re
from pathlib import Path

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import check_replaceable
from condense_nerfstudio.keypoints.condensed_scene import SCENE_FILE

_ID = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f]{1,255}")


def checked_target(folder: Path, scene_id: str | None, num_keypoints: int, overwrite: bool) -> str:
    """The scene's id: the one given, or the folder's name.

    Args:
        folder: of the condensed scene.
        scene_id: the id that was given.
        num_keypoints: how many points are wanted.
        overwrite: whether a condensed scene that is there may be replaced.

    Raises:
        UserError: the id cannot be one, the number is not positive, or the folder may not be written.
    """
    chosen = folder.resolve().name if scene_id is None else scene_id
    if not _ID.fullmatch(chosen):
        raise UserError(f"{chosen!r} cannot be a scene's id: pass --id with a name without slashes.")
    if num_keypoints < 1:
        raise UserError(f"--num-keypoints is {num_keypoints}: give a positive number.")
    check_replaceable(folder, SCENE_FILE, "condensed scene", overwrite)
    return chosen
