"""`condense evaluate`: feature and geometry metrics of a trained scene."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense_nerfstudio.files import write_json


@dataclass
class Evaluate:
    """Measures a trained scene on its held-out views: PSNR, rendered features, consistency between views."""

    load_config: Path
    """The config.yml of the training."""
    json: bool = False
    """Print the result as one JSON object."""
    json_file: Path | None = None
    """Write the result to this file as JSON; `--json FILE` is the same."""

    def run(self) -> dict[str, Any]:
        """Evaluates, and writes the file if one is asked for."""
        from condense_nerfstudio.scene.evaluation import evaluate
        from condense_nerfstudio.scene.load import load_scene

        result = evaluate(load_scene(self.load_config))
        if self.json_file is not None:
            write_json(self.json_file, result)
        return result
