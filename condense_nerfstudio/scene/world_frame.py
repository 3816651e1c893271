"""From the frame in which nerfstudio trains to the data set's own, in which everything that leaves the program is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float
from nerfstudio.data.dataparsers.base_dataparser import DataParser, DataparserOutputs
from nerfstudio.data.dataparsers.nerfstudio_dataparser import Nerfstudio

_COLMAP_FOLDER = "colmap/sparse/0"
_COLMAP_TRANSFORM = ((0, 1, 0, 0), (1, 0, 0, 0), (0, 0, -1, 0))


def world_to_nerf(parser: DataParser, outputs: DataparserOutputs) -> Float[np.ndarray, "4 4"]:
    """The similarity transform from the data set's world frame (that of transforms.json) to nerfstudio's.

    A point x goes to scale * (R x + t). nerfstudio's own data parser folds `applied_transform` and `applied_scale` of
    transforms.json into what it reports, which lead from the frame *before* ns-process-data; they are taken out again.

    Args:
        parser: the data parser of the capture.
        outputs: what it made of it.
    """
    transform = np.vstack([outputs.dataparser_transform.double().numpy(), [0.0, 0.0, 0.0, 1.0]])
    scale = float(outputs.dataparser_scale)
    if isinstance(parser, Nerfstudio):
        applied, applied_scale = _applied(Path(parser.config.data))
        transform = transform @ np.linalg.inv(np.vstack([applied, [0.0, 0.0, 0.0, 1.0]]))
        scale /= applied_scale
    transform[:3] *= scale
    return transform


def to_world(frame: Float[np.ndarray, "4 4"], positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Positions in nerfstudio's frame as positions in the data set's.

    Args:
        frame: what :func:`world_to_nerf` gives.
        positions: in nerfstudio's frame.
    """
    inverse = np.linalg.inv(frame)
    return positions @ inverse[:3, :3].T + inverse[:3, 3]


def to_nerf(frame: Float[np.ndarray, "4 4"], positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """The opposite of :func:`to_world`."""
    return positions @ frame[:3, :3].T + frame[:3, 3]


def _applied(data: Path) -> tuple[Float[np.ndarray, "3 4"], float]:
    """What transforms.json says, or implies, was applied to its poses; as nerfstudio's data parser reads it."""
    file = data if data.suffix == ".json" else data / "transforms.json"
    meta = json.loads(file.read_text())
    if "applied_transform" in meta:
        applied = np.array(meta["applied_transform"], dtype=np.float64)[:3]
    elif (data / _COLMAP_FOLDER).exists():
        applied = np.array(_COLMAP_TRANSFORM, dtype=np.float64)
    else:
        applied = np.eye(4)[:3]
    return applied, float(meta.get("applied_scale", 1.0))
