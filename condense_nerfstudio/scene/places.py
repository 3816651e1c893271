"""Where in the scene phrases are answered: position, box and points, in the data set's frame."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from plyfile import PlyData, PlyElement

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import replace_file
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.scene.region import answering_region
from condense_nerfstudio.scene.surface_cloud import SurfaceCloud
from condense_nerfstudio.scene.world_frame import to_world


@torch.no_grad()
def cloud_relevancy(
    pipeline: CondensePipeline, cloud: SurfaceCloud, phrases: Sequence[str], negatives: Sequence[str] = ()
) -> Float[np.ndarray, "n phrases"]:
    """Relevancy of every point of a cloud to phrases.

    Args:
        pipeline: the scene, with a language teacher.
        cloud: of its surface.
        phrases: what to look for.
        negatives: what phrases must beat, beside the teacher's canonical phrases.
    """
    text = pipeline.model.text
    assert text is not None
    features = pipeline.model.head(text.teacher_name).uncenter(cloud.features[text.teacher_name])
    return text.relevancy(features, phrases, negatives).cpu().numpy()


def find_places(
    positions: Float[np.ndarray, "n 3"], relevancy: Float[np.ndarray, "n phrases"], threshold: float
) -> list[dict[str, Any] | None]:
    """For each phrase the connected region that answers it.

    Args:
        positions: points of the surface, in the data set's frame.
        relevancy: of the points.
        threshold: relevancy above which a point answers.

    Returns:
        "position" (of the highest relevancy), "score" (that relevancy), "box" (smallest and largest coordinates),
        "size", "centroid" and "points" (how many of the cloud); None for a phrase that nothing answers.
    """
    regions = [answering_region(positions, scores, threshold) for scores in relevancy.T]
    return [
        None
        if region is None
        else {
            "position": region.peak.tolist(),
            "score": region.score,
            "box": region.box.tolist(),
            "size": region.size.tolist(),
            "centroid": region.centroid.tolist(),
            "points": len(region.indices),
        }
        for region in regions
    ]


def write_highlighted(
    path: Path, positions: Float[np.ndarray, "n 3"], cloud: SurfaceCloud, relevancy: Float[np.ndarray, "n phrases"]
) -> None:
    """Writes points as a PLY file, with a column of relevancy for each phrase.

    Args:
        path: the file.
        positions: of the points, in the data set's frame.
        cloud: the same points, for their colours.
        relevancy: of the points.

    Raises:
        UserError: the file cannot be written.
    """
    columns = dict(zip("xyz", positions.T, strict=True))
    colors = (cloud.colors.cpu().numpy() * 255).round().astype(np.uint8)
    columns.update(dict(zip(("red", "green", "blue"), colors.T, strict=True)))
    columns.update({f"relevancy_{i}": values for i, values in enumerate(relevancy.T)})
    types = [(name, "u1" if values.dtype == np.uint8 else "<f4") for name, values in columns.items()]
    rows = np.empty(len(positions), dtype=types)
    for name, values in columns.items():
        rows[name] = values
    file = io.BytesIO()
    PlyData([PlyElement.describe(rows, "vertex")], byte_order="<").write(file)
    try:
        replace_file(path, file.getvalue())
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another folder.") from error


def in_world(pipeline: CondensePipeline, cloud: SurfaceCloud) -> Float[np.ndarray, "n 3"]:
    """A cloud's positions in the data set's frame."""
    return to_world(pipeline.datamanager.world_to_nerf(), cloud.positions.double().cpu().numpy())
