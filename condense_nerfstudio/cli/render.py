"""`condense render`: pictures of a trained scene's held-out views, and where phrases are found in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from condense_nerfstudio.files import make_folder, write_json


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
        make_folder(self.output_dir)
        threshold = pipeline.model.text.threshold if self.text and pipeline.model.text is not None else None
        views = render_pictures(pipeline, self.output_dir)
        summary = {"phrases": list(self.text), "threshold": threshold, "views": views}
        write_json(self.output_dir / "summary.json", summary)
        return summary

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints each view's sheet and, for every phrase, where it was found."""
        for view in result["views"]:
            print(view["sheet"])
            for phrase, answer in view["phrases"].items():
                column, row = answer["pixel"]
                found = answer["relevancy"] > result["threshold"]
                where = f"at column {column}, row {row}" if found else f"not found (threshold {result['threshold']})"
                print(f'  "{phrase}": relevancy {answer["relevancy"]:.2f}, {where}')
        print(self.output_dir / "summary.json")
