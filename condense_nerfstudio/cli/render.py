"""`condense render`: pictures of a trained scene, and where phrases are found in them and in space."""

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
    negatives: tuple[str, ...] = ()
    """What the phrases are not, such as "a dog": what is found must resemble its phrase more than these."""
    threshold: float | None = None
    """Relevancy in 0..1 above which something answers a phrase (default: the language teacher's own)."""
    camera_path: Path | None = None
    """Render this camera path, as the viewer's Render tab saves it, and not the held-out views."""
    video: bool = False
    """Write every kind of picture as an MP4 file, too."""
    points: bool = False
    """Write the points of the surface that answer a phrase as highlighted.ply, with their relevancy."""
    json: bool = False
    """Print the summary as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Renders, and writes summary.json last."""
        from condense_nerfstudio.scene.answers import render_answers
        from condense_nerfstudio.scene.load import load_scene
        from condense_nerfstudio.teachers.text import checked_phrases

        phrases, negatives = checked_phrases(self.text), checked_phrases(self.negatives)
        check_options(self)
        pipeline = load_scene(self.load_config, phrases, negatives)
        make_folder(self.output_dir)
        summary = render_answers(
            pipeline, self.output_dir, self.threshold, self.camera_path, video=self.video, points=self.points
        )
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
        for phrase, place in result["places"].items():
            if place is None:
                print(f'"{phrase}" is nowhere in the scene')
            else:
                position, size = (", ".join(f"{v:.3g}" for v in place[key]) for key in ("position", "size"))
                print(f'"{phrase}" is at ({position}), {size} across, relevancy {place["score"]:.2f}')
        print(self.output_dir / "summary.json")


def check_options(command: Render) -> None:
    """Refuses options that do not fit, before anything is loaded.

    Raises:
        UserError: the threshold is out of range, or points or negatives are given without a phrase.
    """
    from condense_nerfstudio.errors import UserError

    if command.threshold is not None and not 0.0 <= command.threshold <= 1.0:
        raise UserError(f"--threshold is {command.threshold:g}: give a number from 0 to 1.")
    if command.points and not command.text:
        raise UserError("--points needs phrases: pass --text, too.")
    if command.negatives and not command.text:
        raise UserError("--negatives needs phrases: pass --text, too.")
