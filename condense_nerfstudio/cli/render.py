"""`condense render`: pictures of a trained scene's held-out views, and where phrases are found in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense_nerfstudio.files import write_json


@dataclass
class Render:
    """Renders the held-out views of a trained scene: colour, depth, features, and the relevancy of phrases."""

    load_config: Path
    """The config.yml of the training."""
    output_dir: Path
    """Folder for the pictures and summary.json; it is made where it does not exist."""
    text: tuple[str, ...] = ()
    """Phrases to look for, such as "a cat"."""
    json: bool = False
    """Print the summary as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Renders, and writes summary.json last."""
        from condense_nerfstudio.scene.load import load_scene
        from condense_nerfstudio.scene.pictures import render_pictures

        pipeline = load_scene(self.load_config, self.text)
        self.output_dir.mkdir(parents=True, exist_ok=True)
        summary = {"phrases": list(self.text), "views": render_pictures(pipeline, self.output_dir)}
        write_json(self.output_dir / "summary.json", summary)
        return summary
