"""Everything that `condense render` answers about a scene: pictures, and the places where phrases are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from condense_nerfstudio.scene.pictures import render_pictures
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.places import cloud_relevancy, find_places, in_world, write_highlighted
from condense_nerfstudio.scene.shots import camera_path_shots, held_out_shots
from condense_nerfstudio.scene.surface_cloud import sample_surface

SURFACE_RAYS = 40000
"""Rays with which the surface is searched for places."""

HIGHLIGHTED_FILE = "highlighted.ply"


def render_answers(
    pipeline: CondensePipeline,
    output_dir: Path,
    threshold: float | None = None,
    camera_path: Path | None = None,
    video: bool = False,
    points: bool = False,
) -> dict[str, Any]:
    """Renders views and looks for the scene's phrases in them and in space, with progress on standard error.

    Args:
        pipeline: the scene, in evaluation mode, with phrases in its model's configuration.
        output_dir: an existing folder.
        threshold: relevancy above which something answers; the language teacher's own by default.
        camera_path: what to render; the held-out views by default.
        video: whether to write videos, too.
        points: whether to write the points that answer, too.

    Returns:
        "phrases", "threshold", "views" (see render_pictures), "places" (by phrase: see find_places, and "best_view",
        the view with the highest relevancy; None where nothing answers) and, if asked for, "points" (the file).

    Raises:
        UserError: the camera path is none, or a file cannot be written.
    """
    phrases, text = pipeline.model.config.phrases, pipeline.model.text
    if phrases and threshold is None:
        assert text is not None
        threshold = text.threshold
    shots = held_out_shots(pipeline) if camera_path is None else camera_path_shots(camera_path, pipeline.device)
    views = render_pictures(pipeline, shots, output_dir, 1.0 if threshold is None else threshold, video)
    summary: dict[str, Any] = {"phrases": list(phrases), "threshold": threshold, "views": views, "places": {}}
    if not phrases or threshold is None:
        return summary
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Searching the surface", total=1.0)
        cloud = sample_surface(pipeline, SURFACE_RAYS, lambda share: bar.update(task, completed=share))
    positions = in_world(pipeline, cloud)
    relevancy = cloud_relevancy(pipeline, cloud, phrases, pipeline.model.config.negatives)
    for phrase, place in zip(phrases, find_places(positions, relevancy, threshold), strict=True):
        best = max(views, key=lambda view: view["phrases"][phrase]["relevancy"])
        summary["places"][phrase] = None if place is None else {**place, "best_view": best["view"]}
    if points:
        answering = (relevancy > threshold).any(axis=1)
        file = output_dir / HIGHLIGHTED_FILE
        write_highlighted(file, positions[answering], cloud[answering], relevancy[answering])
        summary["points"] = str(file)
    return summary
