"""`condense embed`: a condensed scene from any NeRF and a backbone, without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from condense_nerfstudio.backbone.settings import EmbedConfig


@dataclass(frozen=True)
class Embed(EmbedConfig):
    """Gives a NeRF of any nerfstudio method the features of a backbone, and condenses it into key points."""

    json: bool = False
    """Print one JSON object with the scene's id, its folder, the number of key points, and seconds."""

    def run(self) -> dict[str, Any]:
        """Embeds, and writes the folder."""
        from condense_nerfstudio.keypoints.target import checked_target

        scene_id = checked_target(self.output_dir, self.id, self.num_keypoints, self.overwrite)
        # Imported late: a refusal should not take as long as nerfstudio's imports.
        from condense_nerfstudio.backbone.embed_job import embed

        return embed(self, scene_id)
