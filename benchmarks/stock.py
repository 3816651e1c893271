"""Stock nerfacto as it can be run on a CPU without a network, for the benchmarks to compare with."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

from nerfstudio.configs.method_configs import all_methods
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig
from nerfstudio.models.nerfacto import NerfactoModelConfig
from torchmetrics.image import lpip


class NoDownload:
    """Stands in for LPIPS, whose network would be downloaded at start."""

    def __init__(self, **_: Any) -> None: ...

    def __call__(self, *_: Any) -> float:
        return 0.0


def nerfacto() -> Any:
    """Nerfacto's own settings with its torch implementation (tiny-cuda-nn needs CUDA) and 1024 rays a batch."""
    lpip.LearnedPerceptualImagePatchSimilarity = NoDownload
    config = copy.deepcopy(all_methods["nerfacto"])
    parser = config.pipeline.datamanager.dataparser
    config.pipeline.datamanager = VanillaDataManagerConfig(dataparser=parser, train_num_rays_per_batch=1024)
    config.machine.device_type = "cpu"
    config.max_num_iterations = 10**9  # whoever runs it stops it after a time
    config.mixed_precision = False
    config.pipeline.model.implementation = "torch"
    return config


def small_nerfacto() -> Any:
    """Nerfacto at a size that a CPU can train: small grids and as many samples as condense-lite."""
    config = nerfacto()
    model = config.pipeline.model
    model.num_levels, model.log2_hashmap_size, model.max_res = 8, 15, 512
    model.num_proposal_samples_per_ray, model.num_nerf_samples_per_ray = (96, 48), 32
    model.proposal_warmup, model.proposal_weights_anneal_max_num_iters = 500, 300
    for arguments in model.proposal_net_args_list:
        arguments["log2_hashmap_size"] = 15
    return config


def condense_lite(features: bool = True, keypoints: bool = True, feature_start: int | None = None) -> Any:
    """Our method at its own settings, with or without teachers and detector, with features from the step given."""
    config = copy.deepcopy(all_methods["condense-lite"])
    if not keypoints:
        config.pipeline.datamanager.detector.name = "none"
    if not features:
        config.pipeline.datamanager.visual.name = config.pipeline.datamanager.language.name = "none"
    if feature_start is not None:
        config.pipeline.model.feature_start = feature_start
    return config


def condense_lite_for(seconds: int) -> Any:
    """Our method without teachers, its learning rates falling from 1e-2 to 1e-3 over the time that it gets."""
    config = condense_lite(features=False)
    for name in ("fields", "proposal_networks"):
        config.optimizers[name]["scheduler"].max_steps = 11 * seconds  # it takes about so many steps
    return config


def condense_as_nerfacto() -> Any:
    """Our field without features at nerfacto's own sampling, grid sizes and losses, with as many rays a batch."""
    config = condense_lite(features=False)
    config.pipeline.datamanager.train_num_rays_per_batch = 1024
    stock, model = all_methods["nerfacto"].pipeline.model, config.pipeline.model
    for field in dataclasses.fields(NerfactoModelConfig):
        if field.name not in ("_target", "implementation", "proposal_net_args_list", "eval_num_rays_per_chunk"):
            setattr(model, field.name, copy.deepcopy(getattr(stock, field.name)))
    proposal = stock.proposal_net_args_list[-1]
    grid = model.proposal_grid
    grid.num_levels, grid.log2_hashmap_size = proposal["num_levels"], proposal["log2_hashmap_size"]
    grid.max_resolution, model.proposal_hidden_dim = proposal["max_res"], proposal["hidden_dim"]
    return config


def on_capture(config: Any, data: Path, output: Path) -> Any:
    """Points a method at a capture and keeps it from anything but training."""
    config.pipeline.datamanager.data = data
    config.output_dir, config.experiment_name, config.timestamp = output, data.name, config.method_name
    config.vis, config.steps_per_eval_image, config.steps_per_eval_batch = "tensorboard", 10**9, 10**9
    config.viewer.quit_on_train_completion = True
    return config
