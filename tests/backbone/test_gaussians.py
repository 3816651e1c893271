"""Gaussians whose geometry is known, and a splatfacto checkpoint of them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.configs.method_configs import all_methods
from scipy.special import spence
from torch import Tensor, nn

from condense_nerfstudio.backbone.gaussians import GaussianScene, read_gaussians, render
from condense_nerfstudio.backbone.nerf import load_nerf, without_downloads
from condense_nerfstudio.backbone.preparation import prepare_scene
from condense_nerfstudio.backbone.scenes import VOLUME_FILE
from condense_nerfstudio.backbone.settings import VolumeConfig
from condense_nerfstudio.backbone.volume import read_volume
from condense_nerfstudio.backbone.volume_making import make_volume
from condense_nerfstudio.errors import UserError

from ..scene.captures import edit_transforms, write_capture
from .rooms import CARD, views

HALF = 0.8
"""The room's walls are at -HALF and HALF."""


def params(
    means: Tensor, scales: Tensor, opacity: float = 0.9, quats: Tensor | None = None, colors: Tensor | None = None
) -> dict[str, Tensor]:
    """As splatfacto keeps them; by default grey, and axes as they are."""
    count = len(means)
    colors = torch.full((count, 3), 0.5) if colors is None else colors
    return {
        "means": means,
        "scales": scales.expand(count, 3).log(),
        "quats": torch.tensor([[2.0, 0.0, 0.0, 0.0]]).expand(count, 4) if quats is None else quats,
        "opacities": torch.full((count, 1), opacity).logit(),
        "features_dc": (colors - 0.5) / 0.28209479177387814,
        "features_rest": torch.zeros(count, 15, 3),
    }


def room() -> dict[str, Tensor]:
    """Six walls of discs, coloured by position."""
    axis = torch.linspace(-HALF, HALF, 41)
    flat = torch.cartesian_prod(axis, axis)
    walls, scales = [], []
    for normal in range(3):
        for side in (-HALF, HALF):
            columns = [*flat.unbind(1)]
            columns.insert(normal, torch.full((len(flat),), side))
            walls.append(torch.stack(columns, dim=1))
            scales.append(torch.full((len(flat), 3), 0.03).index_fill(1, torch.tensor([normal]), 0.001))
    means = torch.cat(walls)
    return params(means, torch.cat(scales), colors=(means + 1) / 2)


@pytest.fixture(scope="module")
def scene() -> GaussianScene:
    return GaussianScene(read_gaussians(room()))


@pytest.mark.parametrize("opacity", [0.3, 0.9, 0.99])
def test_a_splat_is_as_opaque_as_it_is_drawn(opacity: float) -> None:
    """At its middle, and at one and two standard deviations."""
    disc = GaussianScene(read_gaussians(params(torch.zeros(1, 3), torch.tensor([0.3, 0.2, 0.002]), opacity)))
    places = torch.tensor([[0.0, 0.0], [0.3, 0.0], [0.0, 0.4]])
    # A bundle about each place, since a grid knows a cell's mean only.
    around = torch.cartesian_prod(*[torch.linspace(-0.04, 0.04, 9)] * 2)
    origins = nn.functional.pad((places[:, None] + around).view(-1, 2), (0, 1), value=3.0)
    ahead = torch.tensor([0.0, 0.0, -1.0]).expand(len(origins), 3)
    rays = RayBundle(origins=origins, directions=ahead, pixel_area=torch.ones(len(origins), 1))
    grid = disc.voxels(torch.full((3,), -1.0), 2 / 64, 64)
    alpha = render(grid, rays)["accumulation"].view(3, -1).mean(dim=1)
    falloff = torch.exp(-0.5 * (places / torch.tensor([0.3, 0.2])).square().sum(dim=1))
    torch.testing.assert_close(alpha, opacity * falloff, atol=0.02, rtol=0.03)


@pytest.mark.parametrize("size", [0.02, 0.3, 1.0, 4.0])
def test_matter_is_the_same_however_a_splat_is_turned(size: float) -> None:
    side, opacity = 0.05, 0.8
    scales = torch.tensor([0.1, 1.0, 0.6]) * (size * side)
    found = []
    for seed in range(3):
        torch.manual_seed(seed)
        splat = params(0.1 * torch.randn(1, 3), scales, opacity, quats=torch.randn(1, 4))
        grid = GaussianScene(read_gaussians(splat)).voxels(torch.full((3,), -32 * side), side, 64)
        found.append(float(grid.thickness.sum()) * side**2)
    expected = 2 * torch.pi * float(scales[1] * scales[2]) * float(spence(1 - opacity))
    assert found == pytest.approx([expected] * 3, rel=0.05)
    assert found == pytest.approx([found[0]] * 3, rel=1e-4)


def test_rays_end_at_walls_and_see_their_colours(scene: GaussianScene) -> None:
    rays = views(6).cameras.generate_rays(1).flatten()
    limits = torch.where(rays.directions > 0, HALF, -HALF)
    truth = ((limits - rays.origins) / rays.directions).amin(dim=1)
    seen = scene(rays)
    assert (seen["accumulation"] > 0.5).float().mean() > 0.99
    assert (seen["depth"][:, 0] - truth).abs().median() < 0.01
    met = rays.origins + truth[:, None] * rays.directions
    assert (seen["rgb"] - (met + 1) / 2).abs().median() < 0.02


@pytest.mark.parametrize("resolution", [64, 128])
def test_volumes_hold_the_walls(scene: GaussianScene, resolution: int) -> None:
    config = VolumeConfig(resolution=resolution, rays=8 * resolution**2)
    found = make_volume(scene, views(6).cameras, CARD, config)
    centres = found.origin + (found.cells.float() + 0.5) * found.side
    assert ((centres.abs().amax(dim=1) - HALF).abs() < found.side).all()
    assert (found.colors.float() / 255 - (centres + 1) / 2).abs().max() < found.side + 0.03


def test_colours_without_harmonics_are_logits() -> None:
    splat = {**params(torch.zeros(1, 3), torch.ones(1, 3)), "features_rest": torch.zeros(1, 0, 3)}
    splat["features_dc"] = torch.tensor([[0.2, 0.5, 0.9]]).logit()
    torch.testing.assert_close(read_gaussians(splat).colors, torch.tensor([[0.2, 0.5, 0.9]]))


@pytest.mark.parametrize("name", ["means", "scales", "quats", "opacities", "features_dc"])
def test_gaussians_that_are_no_numbers_are_refused(name: str) -> None:
    broken = room()
    broken[name] = broken[name].clone()
    broken[name][7, 0] = float("nan")
    with pytest.raises(UserError, match="not numbers everywhere: its training has diverged"):
        read_gaussians(broken)


@pytest.mark.parametrize("count", [0, 5])
def test_scenes_without_visible_gaussians_are_refused(count: int) -> None:
    with pytest.raises(UserError, match="no Gaussian that can be seen: train it for longer"):
        read_gaussians(params(torch.randn(count, 3), torch.ones(1, 3), opacity=1e-4))


def test_other_kinds_of_splatting_are_named() -> None:
    other = room()
    del other["features_dc"]
    with pytest.raises(UserError, match="have no features_dc: train it with splatfacto"):
        read_gaussians(other)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """A splatfacto training as ns-train leaves it, with seed points and LPIPS: a wall before the cameras."""
    capture = write_capture(tmp_path / "capture")
    vertices = "".join(f"{x} 0 0 9 9 9\n" for x in range(5))
    colors = "".join(f"property uchar {name}\n" for name in ("red", "green", "blue"))
    places = "".join(f"property float {name}\n" for name in "xyz")
    header = f"ply\nformat ascii 1.0\nelement vertex 5\n{places}{colors}end_header\n"
    (capture / "points.ply").write_text(header + vertices)
    edit_transforms(capture, lambda meta: meta.update(ply_file_path="points.ply"))
    config: Any = copy.deepcopy(all_methods["splatfacto"])
    config.pipeline.datamanager.data = capture
    config.output_dir, config.experiment_name, config.timestamp = tmp_path / "outputs", "test", "run"
    config.save_config()
    config.pipeline.datamanager.dataparser.load_3D_points = False  # they are moved to a GPU
    with without_downloads():
        pipeline = config.pipeline.setup(device="cpu", test_mode="inference")
    cameras = pipeline.datamanager.train_dataset.cameras
    rays = [cameras.generate_rays(index).flatten() for index in range(len(cameras))]
    wall = torch.cat([bundle.origins + bundle.directions for bundle in rays])
    for name, values in params(wall, torch.full((1, 3), 0.01)).items():
        pipeline.model.gauss_params[name] = nn.Parameter(values)
    state = {**pipeline.state_dict(), "_model.lpips.net.lin0.model.1.weight": torch.zeros(1, 64, 1, 1)}
    config.get_checkpoint_dir().mkdir(parents=True)
    torch.save({"step": 9, "pipeline": state}, config.get_checkpoint_dir() / "step-000000009.ckpt")
    return config.get_base_dir() / "config.yml"


def test_a_splatfacto_checkpoint_gives_a_volume(training: Path, tmp_path: Path) -> None:
    nerf = load_nerf(training)
    assert nerf.method == "splatfacto" and isinstance(nerf.model, GaussianScene)
    seen = nerf.model(nerf.cameras.generate_rays(2).flatten())
    assert (seen["accumulation"] > 0.5).float().mean() > 0.9
    assert (seen["depth"] - 1).abs().median() < 0.03
    prepare_scene(training, tmp_path, VolumeConfig(resolution=64, rays=20_000))
    volume = read_volume(tmp_path / VOLUME_FILE)
    assert volume.card.method == "splatfacto" and len(volume.cells) > 500
    assert volume.colors.float().sub(127.5).abs().max() <= 1
