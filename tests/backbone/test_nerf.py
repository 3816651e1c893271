"""NeRFs of stock nerfstudio, opened without a network."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path

import pytest
import torch
from nerfstudio.configs.method_configs import all_methods
from nerfstudio.data.datamanagers.base_datamanager import VanillaDataManagerConfig

from condense_nerfstudio.backbone.nerf import Nerf, load_nerf, without_downloads
from condense_nerfstudio.backbone.views import read_views, write_views
from condense_nerfstudio.backbone.volume_making import radiance
from condense_nerfstudio.errors import UserError

from ..scene.captures import write_capture
from ..scene.trainings import trained


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two steps of nerfacto, whose LPIPS would be downloaded."""
    folder = tmp_path_factory.mktemp("nerfacto")
    write_capture(folder / "capture", size=(64, 48))
    config = copy.deepcopy(all_methods["nerfacto"])
    parser, model = config.pipeline.datamanager.dataparser, config.pipeline.model
    config.pipeline.datamanager = VanillaDataManagerConfig(
        data=folder / "capture", dataparser=parser, train_num_rays_per_batch=64, eval_num_rays_per_batch=64
    )
    model.implementation, model.num_levels, model.log2_hashmap_size, model.max_res = "torch", 4, 10, 64
    config.machine.device_type, config.mixed_precision = "cpu", False
    config.max_num_iterations, config.vis = 2, "tensorboard"
    config.output_dir, config.experiment_name, config.timestamp = folder / "outputs", "test", "run"
    with without_downloads():
        trained(config)
    return folder / "outputs/test/nerfacto/run/config.yml"


@pytest.fixture(scope="module")
def nerf(config_file: Path) -> Nerf:
    return load_nerf(config_file)


def test_a_stock_nerf_is_opened_with_its_photographs(nerf: Nerf, config_file: Path) -> None:
    (checkpoint,) = (config_file.parent / "nerfstudio_models").glob("*.ckpt")
    assert nerf.method == "nerfacto" and nerf.checkpoint == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert len(nerf.cameras) == len(nerf.views.indices(held_out=False)) > 0
    assert all(image.is_file() for image in nerf.views.images) and nerf.data.name == "capture"
    torch.testing.assert_close(nerf.views.cameras.camera_to_worlds[: len(nerf.cameras)], nerf.cameras.camera_to_worlds)


def test_its_field_answers_at_positions(nerf: Nerf) -> None:
    directions = torch.nn.functional.normalize(torch.randn(10, 3), dim=1)
    with torch.no_grad():
        density, rgb = radiance(nerf.model, torch.rand(10, 3) - 0.5, directions)
    assert density.shape == (10,) and (density >= 0).all() and ((rgb >= 0) & (rgb <= 1)).all()


def test_views_come_back_as_they_were(nerf: Nerf, tmp_path: Path) -> None:
    write_views(nerf.views, tmp_path / "views.json")
    back = read_views(tmp_path / "views.json")
    assert back.images == nerf.views.images and back.held_out == nerf.views.held_out
    for name in ("camera_to_worlds", "fx", "fy", "cx", "cy", "width", "height", "camera_type"):
        torch.testing.assert_close(getattr(back.cameras, name), getattr(nerf.views.cameras, name))
    rays = [cameras.generate_rays(0).directions for cameras in (back.cameras, nerf.views.cameras)]
    torch.testing.assert_close(rays[0], rays[1])


@pytest.mark.parametrize("content", ["", "{}", '{"format": "condense views", "version": 9, "views": [1]}', "[[]]"])
def test_broken_views_are_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "views.json").write_text(content)
    with pytest.raises(UserError, match=r"views\.json are broken .*: delete the file"):
        read_views(tmp_path / "views.json")
    with pytest.raises(UserError, match="cannot be read"):
        read_views(tmp_path / "none.json")


def test_files_that_are_no_trainings_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        load_nerf(tmp_path / "config.yml")
