"""`condense embed`: a condensed scene from any NeRF and a backbone, without training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Embed:
    """Gives a NeRF of any nerfstudio method the features of a backbone, and condenses it into key points."""

    load_config: Path
    """The config.yml of the training."""
    backbone: Path
    """A backbone's file, as `condense pretrain` writes it."""
    output_dir: Path
    """Folder for the condensed scene; it is made."""
    id: str | None = None
    """The scene's id; by default the name of the output folder."""
    num_keypoints: int = 512
    """How many key points to keep."""
    resolution: int | None = None
    """Cells a side of the volume: 64, 128 or 256; by default what the backbone was trained on."""
    photographs: int = 0
    """Lift the features of so many of the scene's photographs into the backbone's input, evenly chosen: nearer to the
    teachers than from the NeRF alone."""
    feature_volume: Path | None = None
    """Write the feature volume to this safetensors file, too."""
    overwrite: bool = False
    """Replace a condensed scene in the output folder."""
    json: bool = False
    """Print one JSON object with the scene's id, its folder, the number of key points, and seconds."""

    def run(self) -> dict[str, Any]:
        """Embeds, and writes the folder."""
        from condense_nerfstudio.errors import UserError
        from condense_nerfstudio.keypoints.target import checked_target

        if self.photographs < 0:
            raise UserError(f"--photographs is {self.photographs}: give a number of photographs, or 0 for none.")
        scene_id = checked_target(self.output_dir, self.id, self.num_keypoints, self.overwrite)
        # Imported late: a refusal should not take as long as nerfstudio's imports.
        from condense_nerfstudio.backbone.embed_job import embed

        return embed(
            self.load_config,
            self.backbone,
            self.output_dir,
            scene_id,
            self.num_keypoints,
            self.resolution,
            self.photographs,
            self.feature_volume,
            self.overwrite,
        )
