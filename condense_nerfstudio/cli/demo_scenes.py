"""`condense demo-scenes`: procedural scenes with ground truth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class DemoScenes:
    """Make procedural gallery scenes in nerfstudio's format, with depth, masks and every object's 3D box."""

    output_dir: Path
    """Folder for the scenes scene_000, scene_001, ..."""
    count: int = 1
    """How many scenes to make."""
    seed: int = 0
    """Decides rooms, contents and cameras; the same seed gives byte-identical scenes."""
    num_views: int = 40
    """Views in each scene, at least 3."""
    width: int = 640
    """Pixels across."""
    height: int = 480
    """Pixels down."""
    duplicate_of: Path | None = None
    """Make duplicates of this demo scene: other cameras, exposure and world frame."""
    near_miss_of: Path | None = None
    """Make near misses of this demo scene: the same objects at other places in another room."""
    photographs: tuple[str, ...] | None = None
    """Names of the photographs to choose from, for collections that hold some out; by default all."""
    solids: tuple[str, ...] | None = None
    """Names of the solids to choose from; by default all."""
    overwrite: bool = False
    """Replace demo scenes that exist already."""
    json: bool = False
    """Print one JSON object with the scenes' folders and phrases."""

    def run(self) -> dict[str, Any]:
        """Makes the scenes, with a progress bar on standard error.

        Returns:
            {"scenes": [{"scene": folder name, "path": folder, "objects": number, "phrases": text questions}]}

        Raises:
            UserError: an option is out of range, a folder exists already, or the original scene is missing or broken.
        """
        from rich.console import Console
        from rich.progress import Progress

        from condense_nerfstudio.demo.generate import Options, generate_scenes

        options = Options(
            count=self.count,
            seed=self.seed,
            num_views=self.num_views,
            width=self.width,
            height=self.height,
            duplicate_of=self.duplicate_of,
            near_miss_of=self.near_miss_of,
            photographs=self.photographs,
            solids=self.solids,
        )
        with Progress(console=Console(stderr=True)) as progress:
            task = progress.add_task("Rendering demo scenes", total=self.count * self.num_views)
            written = generate_scenes(self.output_dir, options, self.overwrite, lambda: progress.advance(task))
        return {
            "scenes": [
                {
                    "scene": folder.name,
                    "path": str(folder),
                    "objects": len(objects),
                    "phrases": sorted(entry.phrase for entry in objects if entry.phrase is not None),
                }
                for folder, objects in written.items()
            ]
        }

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints a line for each scene: its folder and the phrases that should find something in it."""
        for scene in result["scenes"]:
            print(f"{scene['path']}  {', '.join(scene['phrases'])}")
