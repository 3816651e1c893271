"""How well does a volume hold what Gaussians show?

    condense demo-scenes --output-dir demo --seed 3
    python benchmarks/gaussians.py --scene demo/scene_000 --output-dir O

Gaussians are trained on CUDA only. These are made of a demo scene's true depth maps: discs at pixels of half of the
views, as large as their spacing, in a splatfacto checkpoint as ns-train writes it. `condense embed` opens that; what
rays of other views see is compared with their true depth and their photographs.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from condense_nerfstudio.files import write_json

OPACITY = 0.9
VIEWS = (0, 7, 14)
"""Held-out ones that are looked at."""
STEP = 29_999


def write_training(scene: Path, folder: Path, count: int) -> Path:
    """A splatfacto training of a demo scene that holds `count` discs; returns its config.yml."""
    from nerfstudio.configs.method_configs import all_methods

    from condense_nerfstudio.backbone.nerf import without_downloads

    config: Any = copy.deepcopy(all_methods["splatfacto"])
    config.pipeline.datamanager.data = config.data = scene.absolute()
    config.pipeline.datamanager.dataparser.train_split_fraction = 0.5
    config.output_dir, config.experiment_name, config.timestamp = folder.absolute(), scene.name, "run"
    with without_downloads():
        pipeline = config.pipeline.setup(device="cpu", test_mode="inference")
    params = discs(pipeline.datamanager.train_dataset, count)
    for name, values in params.items():
        pipeline.model.gauss_params[name] = nn.Parameter(values)
    config.save_config()
    config.get_checkpoint_dir().mkdir(parents=True, exist_ok=True)
    state = {"step": STEP, "pipeline": pipeline.state_dict(), "optimizers": {}, "schedulers": {}, "scalers": {}}
    torch.save(state, config.get_checkpoint_dir() / f"step-{STEP:09d}.ckpt")
    return config.get_base_dir() / "config.yml"


def true_depth(dataset: Any, index: int) -> Tensor:
    """Distances along the rays of a photograph's pixels, zero where there is none."""
    outputs = dataset._dataparser_outputs
    meta = outputs.metadata
    steps = np.asarray(Image.open(meta["depth_filenames"][index])).astype(np.float32)
    depth = torch.from_numpy(steps) * (meta["depth_unit_scale_factor"] * outputs.dataparser_scale)
    rays = dataset.cameras.generate_rays(index)
    return depth * rays.metadata["directions_norm"][..., 0]


def picture(dataset: Any, index: int) -> Tensor:
    """A photograph's colours."""
    return torch.from_numpy(np.array(Image.open(dataset.image_filenames[index]))).float() / 255


def discs(dataset: Any, count: int) -> dict[str, Tensor]:
    """Flat Gaussians at pixels of the depth maps, chosen at random, in splatfacto's parameters."""
    random = np.random.default_rng(0)
    share = count / len(dataset)
    found: dict[str, list[Tensor]] = {"means": [], "scales": [], "quats": [], "features_dc": []}
    for index in range(len(dataset)):
        depth, rays = true_depth(dataset, index), dataset.cameras.generate_rays(index)
        points = rays.origins + depth[..., None] * rays.directions
        across, down = points[1:-1, 2:] - points[1:-1, :-2], points[2:, 1:-1] - points[:-2, 1:-1]
        normals = nn.functional.normalize(torch.linalg.cross(across, down), dim=-1)
        inner = depth[1:-1, 1:-1]
        flat = torch.from_numpy(random.permutation(inner.numel())[: round(share)])
        flat = flat[inner.flatten()[flat] > 0]
        # Discs tile a plane that faces the camera: as many pixels each as were passed over.
        spacing = (inner.numel() / share) ** 0.5 / float(dataset.cameras.fx[index])
        width = inner.flatten()[flat] * spacing * 0.6
        found["means"].append(points[1:-1, 1:-1].reshape(-1, 3)[flat])
        found["scales"].append(torch.stack([width, width, 0.05 * width], dim=1).log())
        found["quats"].append(facing(normals.reshape(-1, 3)[flat]))
        found["features_dc"].append((picture(dataset, index)[1:-1, 1:-1].reshape(-1, 3)[flat] - 0.5) / 0.28209479)
    params = {name: torch.cat(parts) for name, parts in found.items()}
    total = len(params["means"])
    opacity = torch.full((total, 1), OPACITY).logit()
    return {**params, "features_rest": torch.zeros(total, 15, 3), "opacities": opacity}


def facing(normals: Tensor) -> Tensor:
    """Quaternions (w first) that turn the z axis onto normals of length one: half way from z, as an axis."""
    x, y, z = normals.unbind(dim=1)
    return nn.functional.normalize(torch.stack([1 + z, -y, x, torch.zeros_like(x)], dim=1) + 1e-9, dim=1)


def measure(config: Path, output: Path) -> dict[str, Any]:
    """Seconds, and what held-out views see in the grid that rays are rendered with and in volumes."""
    from condense_nerfstudio.backbone.gaussians import GaussianScene, render
    from condense_nerfstudio.backbone.nerf import load_nerf, without_downloads
    from condense_nerfstudio.backbone.preparation import volume_of
    from condense_nerfstudio.backbone.settings import VolumeConfig
    from condense_nerfstudio.backbone.volume_making import Voxels
    from condense_nerfstudio.scene.load import open_training

    with without_downloads():
        pipeline: Any = open_training(config, test_mode="inference").pipeline
    views = [View(pipeline.datamanager.eval_dataset, index) for index in VIEWS]
    began = time.monotonic()
    nerf = load_nerf(config)
    result: dict[str, Any] = {"load": {"seconds": time.monotonic() - began}}
    assert isinstance(nerf.model, GaussianScene)
    for resolution, rays in ((64, 200_000), (128, 200_000), (128, 800_000)):
        began = time.monotonic()
        volume = volume_of(nerf, VolumeConfig(resolution=resolution, rays=rays))
        seconds = time.monotonic() - began
        colors = torch.zeros(resolution, resolution, resolution, 3)
        colors[tuple(volume.cells.long().T)] = volume.colors.float() / 255
        grid = Voxels(volume.origin, volume.side, volume.dense_thickness(), colors)
        found = errors(views, [render(grid, view.rays) for view in views], volume.side)
        result[f"volume of {resolution} cells a side by {rays} rays"] = {
            "seconds": seconds,
            "cells": len(volume.cells),
            **found,
        }
        side = volume.side
    seen = [nerf.model(view.rays) for view in views]
    result["rays, in the last volume's cells"] = errors(views, seen, side)
    rows = [
        torch.cat([view.picture, answers["rgb"].view_as(view.picture)], dim=1)
        for view, answers in zip(views, seen, strict=True)
    ]
    Image.fromarray((torch.cat(rows) * 255).round().byte().numpy()).save(output / "views.png")
    return result


class View:
    """A held-out photograph, at every other pixel across and down."""

    def __init__(self, dataset: Any, index: int) -> None:
        self.rays = dataset.cameras.generate_rays(index)[::2, ::2].flatten()
        self.depth = true_depth(dataset, index)[::2, ::2].reshape(-1, 1)
        self.picture = picture(dataset, index)[::2, ::2]


def errors(views: Sequence[View], seen: Sequence[dict[str, Tensor]], side: float) -> dict[str, float]:
    """Of depth, in cells, where rays end, and of colour; and the share of rays that end."""
    depth, opacity, rgb = (torch.cat([answers[name] for answers in seen]) for name in ("depth", "accumulation", "rgb"))
    truth, true_rgb = torch.cat([v.depth for v in views]), torch.cat([v.picture.reshape(-1, 3) for v in views])
    wrong = ((depth - truth) / side)[(opacity > 0.5) & (truth > 0)]
    return {
        "depth error, cells": float(wrong.abs().median()),
        "its ninth decile": float(wrong.abs().quantile(0.9)),
        "signed": float(wrong.median()),
        "rays with opacity > .5": float((opacity > 0.5)[truth > 0].float().mean()),
        "PSNR": float(-10 * (rgb - true_rgb).square().mean().log10()),
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "gaussians.json")
    arguments = parser.parse_args()
    importlib.import_module("condense_nerfstudio.plugin")
    from condense_nerfstudio.cpu import prepare_cpu

    prepare_cpu()
    config = write_training(arguments.scene, arguments.output_dir, arguments.count)
    result = {"gaussians": arguments.count, **measure(config, arguments.output_dir)}
    command = ["condense", "embed", "--load-config", config, "--output-dir", arguments.output_dir / "embedded"]
    done = subprocess.run([*command, "--overwrite", "--json"], check=True, capture_output=True, text=True)
    result["embed"] = json.loads(done.stdout)["seconds"]
    write_json(arguments.output, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
