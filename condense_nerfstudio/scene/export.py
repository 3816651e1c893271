"""From a config.yml to a folder with a condensed scene: what `condense keypoints` and ns-export do."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.progress import Progress

from condense_nerfstudio.keypoints.config import ExportConfig
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.keypoints.target import checked_target


def export_keypoints(config: ExportConfig) -> dict[str, Any]:
    """Condenses a trained scene into a folder, with a progress bar on standard error.

    Args:
        config: which scene, where to, and how many key points.

    Returns:
        "scene" (its id), "path", "keypoints" (how many there are), "bytes" (size of the folder).

    Raises:
        UserError: as load_scene, condense_scene and write_condensed_scene do, or an option is out of range.
    """
    folder = config.output_dir
    scene_id = checked_target(folder, config.id, config.num_keypoints, config.overwrite)
    # Imported late: a refusal should not take as long as nerfstudio's imports.
    from condense_nerfstudio.scene.condensation import condense_scene
    from condense_nerfstudio.scene.load import load_scene
    from condense_nerfstudio.scene.posed_scene import TrainedScene

    pipeline = load_scene(config.load_config)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Condensing", total=1.0)
        scene = condense_scene(
            TrainedScene(pipeline),
            config.num_keypoints,
            scene_id,
            progress=lambda what, share: bar.update(task, description=what, completed=share),
        )
    write_condensed_scene(scene, folder, config.overwrite)
    if len(scene.points) < config.num_keypoints:
        print(f"condense: there are no more than {len(scene.points)} key points in the scene.", file=sys.stderr)
    return {
        "scene": scene.id,
        "path": str(folder),
        "keypoints": len(scene.points),
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
    }
