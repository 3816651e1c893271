"""A training so small that tests can afford it."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path

from nerfstudio.engine.trainer import Trainer, TrainerConfig

from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.scene.pipeline import CondensePipelineConfig
from condense_nerfstudio.teachers.config import TeacherConfig

from ..teachers.tiny_models import save_tiny_clip, save_tiny_dinov2
from .captures import write_capture


def write_folder(folder: Path, size: tuple[int, int] = (64, 48)) -> Path:
    """A capture and tiny random teachers."""
    write_capture(folder / "capture", size=size)
    save_tiny_dinov2(folder / "dinov2")
    save_tiny_clip(folder / "clip")
    return folder


def small_config(folder: Path, output: Path) -> TrainerConfig:
    """The method `condense`, reduced to a size for tests."""
    module = importlib.import_module("condense_nerfstudio.method_configs.condense")
    config = copy.deepcopy(module.method.config)
    manager, model = config.pipeline.datamanager, config.pipeline.model
    manager.data = folder / "capture"
    manager.visual = TeacherConfig(name="dinov2", model=str(folder / "dinov2"), resolution=56)
    manager.language = TeacherConfig(name="clip", model=str(folder / "clip"), resolution=64)
    manager.detector = DetectorConfig("gftt")  # needs no weights
    manager.train_num_rays_per_batch = manager.eval_num_rays_per_batch = 64
    model.num_levels, model.log2_hashmap_size, model.max_res = 4, 10, 64
    model.num_proposal_samples_per_ray, model.num_nerf_samples_per_ray = (16, 8), 8
    model.feature_start = 0
    model.average_init_density = 1.0  # so that there is something to see after two steps
    config.machine.device_type = "cpu"
    config.mixed_precision = False
    config.max_num_iterations = 2
    config.vis = "tensorboard"
    config.output_dir, config.experiment_name, config.timestamp = output, "test", "run"
    return config


def small_pipeline_config(folder: Path) -> CondensePipelineConfig:
    """Its pipeline only, for tests that do not train."""
    config = small_config(folder, folder).pipeline
    assert isinstance(config, CondensePipelineConfig)
    return config


def trained(config: TrainerConfig) -> Trainer:
    """Trains to the end."""
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    config.save_config()
    trainer.train()
    return trainer
