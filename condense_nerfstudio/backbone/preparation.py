"""From trained NeRFs to what cross-scene training reads: a volume and views for each scene."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from condense_nerfstudio.backbone.nerf import Nerf, load_nerf
from condense_nerfstudio.backbone.scenes import VIEWS_FILE, VOLUME_FILE
from condense_nerfstudio.backbone.settings import VolumeConfig
from condense_nerfstudio.backbone.views import read_views, write_views
from condense_nerfstudio.backbone.volume import SceneVolume, VolumeCard, read_volume, write_volume
from condense_nerfstudio.backbone.volume_making import make_volume
from condense_nerfstudio.errors import UserError


def volume_of(nerf: Nerf, config: VolumeConfig, progress: Callable[[float], None] = lambda share: None) -> SceneVolume:
    """The scene volume of a NeRF; see :func:`make_volume`."""
    card = VolumeCard(
        method=nerf.method,
        checkpoint=nerf.checkpoint,
        world_to_nerf=tuple(tuple(float(value) for value in row) for row in nerf.world_to_nerf),
        least_weight=config.least_weight,
        rays=config.rays,
    )
    return make_volume(nerf.model, nerf.cameras, card, config, progress)


def prepare_scene(
    config_path: Path, folder: Path, config: VolumeConfig, progress: Callable[[float], None] = lambda share: None
) -> None:
    """Makes a scene's volume and views, unless they are there.

    Args:
        config_path: the config.yml of the NeRF's training.
        folder: where they go; views.json is written last.
        config: how the volume is made.
        progress: told the share that is done.

    Raises:
        UserError: the NeRF cannot be opened, or its volume is empty.
    """
    if is_prepared(folder, config):
        return
    nerf = load_nerf(config_path)
    write_volume(volume_of(nerf, config, progress), folder / VOLUME_FILE)
    write_views(nerf.views, folder / VIEWS_FILE)


def is_prepared(folder: Path, config: VolumeConfig) -> bool:
    """Whether a scene's files are there, whole, and made as they would be now."""
    if not (folder / VIEWS_FILE).exists():
        return False
    try:
        read_views(folder / VIEWS_FILE)
        volume = read_volume(folder / VOLUME_FILE)
    except UserError:
        return False
    made = (volume.resolution, volume.card.least_weight, volume.card.rays)
    return made == (config.resolution, config.least_weight, config.rays)
