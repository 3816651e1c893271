"""A trained NeRF of any nerfstudio method: what a scene volume and its views are made from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.models.base_model import Model
from nerfstudio.pipelines.base_pipeline import VanillaPipeline
from torch import nn

from condense_nerfstudio.backbone.gaussians import GaussianScene, read_gaussians
from condense_nerfstudio.backbone.views import Views
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.load import Training, open_training
from condense_nerfstudio.scene.posed_scene import refined_camera
from condense_nerfstudio.scene.world_frame import world_to_nerf


@dataclass(frozen=True)
class Nerf:
    """A NeRF and the photographs that it was trained on."""

    model: Model | GaussianScene
    """In evaluation mode."""
    cameras: Cameras
    """Of the training photographs."""
    views: Views
    """Of all photographs."""
    data: Path
    """The capture."""
    world_to_nerf: Float[np.ndarray, "4 4"]
    """See scene.world_frame."""
    method: str
    """Its name in nerfstudio."""
    checkpoint: str
    """SHA-256 of the checkpoint's bytes."""


def load_nerf(config_path: Path) -> Nerf:
    """Opens a training of any method that has cameras and a field, or of splatfacto.

    Args:
        config_path: a config.yml written by ns-train, which can run code: open only what you made or trust.

    Raises:
        UserError: the file or its checkpoint is missing, the method is none that can be read, or splatfacto's Gaussians
            cannot be seen or are not numbers.
    """
    with without_downloads():
        return nerf_of(open_training(config_path, _without_seed_points, test_mode="inference"))


def _without_seed_points(config: TrainerConfig) -> None:
    """Keeps splatfacto from reading a capture's points, which the checkpoint replaces anyway.

    It would ask whether to convert COLMAP's, and move all to a GPU, even where there is none.
    """
    parser: Any = getattr(config.pipeline.datamanager, "dataparser", None)
    if hasattr(parser, "load_3D_points"):
        parser.load_3D_points = False
    model: Any = config.pipeline.model
    if hasattr(model, "random_init"):
        model.random_init, model.num_random = True, 8


def nerf_of(training: Training) -> Nerf:
    """What :func:`load_nerf` says of a training that is open already."""
    pipeline = training.pipeline
    manager: Any = getattr(pipeline, "datamanager", None)
    if not isinstance(pipeline, VanillaPipeline) or not hasattr(manager, "train_dataparser_outputs"):
        raise UserError(
            f"{training.config.get_base_dir()} was trained with {training.config.method_name}, whose photographs "
            "cannot be found: use a method with nerfstudio's usual pipeline, such as nerfacto or condense-lite."
        )
    cameras = _joined([refined_camera(pipeline, index) for index in range(len(manager.train_dataset.cameras))])
    held_out = manager.eval_dataset
    params = getattr(pipeline.model, "gauss_params", None)
    return Nerf(
        model=pipeline.model if params is None else GaussianScene(read_gaussians(dict(params))),
        cameras=cameras,
        views=Views(
            images=[*map(Path, manager.train_dataset.image_filenames), *map(Path, held_out.image_filenames)],
            cameras=_joined([cameras, held_out.cameras]),
            held_out=[False] * len(cameras) + [True] * len(held_out.cameras),
        ),
        data=Path(manager.get_datapath()),
        world_to_nerf=world_to_nerf(manager.dataparser, manager.train_dataparser_outputs),
        method=training.config.method_name or type(pipeline.model).__name__,
        checkpoint=hashlib.sha256(training.checkpoint.read_bytes()).hexdigest(),
    )


def _joined(parts: list[Cameras]) -> Cameras:
    """Cameras of several batches as one."""

    def all_of(name: str) -> torch.Tensor:
        return torch.cat([getattr(part, name).detach().to(parts[0].device) for part in parts])

    distorted = all(part.distortion_params is not None for part in parts)
    names = ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height", "camera_type")
    values: dict[str, Any] = {name: all_of(name) for name in names}
    return Cameras(**values, distortion_params=all_of("distortion_params") if distorted else None)


@contextmanager
def without_downloads() -> Iterator[None]:
    """Builds models without LPIPS, a measure for evaluation whose network nerfacto would download at once."""
    from torchmetrics.image import lpip

    original = lpip.LearnedPerceptualImagePatchSimilarity
    lpip.LearnedPerceptualImagePatchSimilarity = _NoMeasure  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        lpip.LearnedPerceptualImagePatchSimilarity = original  # pyright: ignore[reportAttributeAccessIssue]


class _NoMeasure(nn.Module):
    """Stands in for LPIPS; never called."""

    def __init__(self, **_: Any) -> None:
        super().__init__()
