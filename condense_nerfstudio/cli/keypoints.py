"""`condense keypoints`: a trained scene as a condensed scene, a folder with decorated key points."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Keypoints:
    """Condenses a trained scene into decorated key points; the same as ns-export condense-keypoints."""

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
    json: bool = False
    """Print one JSON object with the scene's id, its folder and the number of key points."""

    def run(self) -> dict[str, Any]:
        """Condenses, and writes the folder."""
        from condense_nerfstudio.scene.export import export_keypoints

        return export_keypoints(self.load_config, self.output_dir, self.num_keypoints, self.id, self.overwrite)
