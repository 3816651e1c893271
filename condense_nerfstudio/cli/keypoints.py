"""`condense keypoints`: a trained scene as a condensed scene, a folder with decorated key points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from condense_nerfstudio.keypoints.config import ExportConfig


@dataclass
class Keypoints(ExportConfig):
    """Condenses a trained scene into decorated key points; the same as ns-export condense-keypoints."""

    json: bool = False
    """Print one JSON object with the scene's id, its folder and the number of key points."""

    def run(self) -> dict[str, Any]:
        """Condenses, and writes the folder."""
        from condense_nerfstudio.scene.export import export_keypoints

        return export_keypoints(self)
