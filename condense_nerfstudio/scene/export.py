"""From a config.yml to a folder with a condensed scene: what `condense keypoints` and ns-export do."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import check_replaceable
from condense_nerfstudio.keypoints.condensed_scene import SCENE_FILE
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.scene.condensation import condense_scene
from condense_nerfstudio.scene.load import load_scene

_ID = re.compile(r"(?!\.{1,2}\Z)[^/\\\x00-\x1f]{1,255}")


def export_keypoints(
    load_config: Path, output_dir: Path, num_keypoints: int, scene_id: str | None = None, overwrite: bool = False
) -> dict[str, Any]:
    """Condenses a trained scene into a folder, with a progress bar on standard error.

    Args:
        load_config: the config.yml of the training.
        output_dir: the folder to make.
        num_keypoints: how many key points to keep.
        scene_id: the scene's id; by default the folder's name.
        overwrite: whether a condensed scene that is there may be replaced.

    Returns:
        "scene" (its id), "path", "keypoints" (how many there are), "bytes" (size of the folder).

    Raises:
        UserError: as load_scene, condense_scene and write_condensed_scene do, or an option is out of range.
    """
    scene_id = output_dir.resolve().name if scene_id is None else scene_id
    if not _ID.fullmatch(scene_id):
        raise UserError(f"{scene_id!r} cannot be a scene's id: pass --id with a name without slashes.")
    if num_keypoints < 1:
        raise UserError(f"--num-keypoints is {num_keypoints}: give a positive number.")
    check_replaceable(output_dir, SCENE_FILE, "condensed scene", overwrite)
    pipeline = load_scene(load_config)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Condensing", total=1.0)
        scene = condense_scene(
            pipeline,
            num_keypoints,
            scene_id,
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        )
    write_condensed_scene(scene, output_dir, overwrite)
    if len(scene.points) < num_keypoints:
        print(f"condense: the scene has {len(scene.points)} key points, not {num_keypoints}.", file=sys.stderr)
    return {
        "scene": scene.id,
        "path": str(output_dir),
        "keypoints": len(scene.points),
        "bytes": sum(file.stat().st_size for file in output_dir.iterdir()),
    }
