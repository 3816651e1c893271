"""`condense embed`: any nerfstudio checkpoint and a backbone to a condensed scene, without a gradient step."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from condense_nerfstudio.backbone.backbone_file import BackboneCard, find_backbone, open_backbone
from condense_nerfstudio.backbone.embedded_scene import EmbeddedScene
from condense_nerfstudio.backbone.nerf import load_nerf
from condense_nerfstudio.backbone.preparation import volume_of
from condense_nerfstudio.backbone.settings import EmbedConfig, VolumeConfig
from condense_nerfstudio.backbone.tensor_file import write_tensors
from condense_nerfstudio.cpu import prepare_cpu
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.scene.condensation import condense_scene
from condense_nerfstudio.teachers.cache import default_cache_root


def embed(config: EmbedConfig, scene_id: str) -> dict[str, Any]:
    """Gives a NeRF features and condenses it, with a progress bar on standard error.

    Args:
        config: what to do.
        scene_id: the condensed scene's id.

    Returns:
        "scene", "path", "keypoints", "nodes" (of the feature volume), and "seconds" of each part after loading.

    Raises:
        UserError: a file is missing, broken or of another version, or the scene's density is empty or not a number.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        prepare_cpu()
    model, card = open_backbone(find_backbone(config.backbone), device)
    if card.detector is None:
        raise UserError(
            f"Backbone {config.backbone} was trained without key points: use another, or train one with a detector."
        )
    nerf = load_nerf(config.load_config)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Volume", total=1.0)
        clock = time.monotonic()
        volume = volume_of(
            nerf,
            VolumeConfig(resolution=config.resolution or card.resolution),
            lambda share: bar.update(task, completed=0.5 * share),
        )
        made = time.monotonic()
        scene = EmbeddedScene(nerf, volume, model, card, default_cache_root(), config.photographs)
        embedded = time.monotonic()
        condensed = condense_scene(
            scene,
            config.num_keypoints,
            scene_id,
            progress=lambda what, share: bar.update(task, description=what, completed=0.5 + 0.5 * share),
        )
        done = time.monotonic()
    write_condensed_scene(condensed, config.output_dir, config.overwrite)
    if config.feature_volume is not None:
        write_feature_volume(scene, card, config.feature_volume)
    return {
        "scene": condensed.id,
        "path": str(config.output_dir),
        "keypoints": len(condensed.points),
        "nodes": len(scene.features.values),
        "seconds": {
            "volume": round(made - clock, 2),
            "network": round(embedded - made, 2),
            "key points": round(done - embedded, 2),
        },
    }


def write_feature_volume(scene: EmbeddedScene, card: BackboneCard, path: Path) -> None:
    """Writes the backbone's features of a scene: nodes, their low-dimensional features, and what decodes them.

    Raises:
        UserError: the file cannot be written.
    """
    nodes, volume = scene.features.nodes, scene.volume
    tensors = {"nodes": nodes.places().short(), "features": scene.features.values.half()}
    for teacher in card.teachers:
        head = scene.model.head(teacher.name)
        # raw = decoder @ (its part of the features) * scale + mean
        tensors |= {f"{teacher.name}.decoder": head.decoder.weight * head.scale, f"{teacher.name}.mean": head.mean}
    content = {
        "format": "condense feature volume",
        "version": 1,
        "frame": "nerfstudio",
        "origin": volume.origin.double().tolist(),
        "side": 2 * volume.side,
        "resolution": volume.resolution // 2,
        "channels": {t.name: scene.model.head(t.name).decoder.in_features for t in card.teachers} | {"keypoint": 1},
        **asdict(volume.card),
    }
    write_tensors(path, tensors, {"card": json.dumps(content)}, "Feature volume")
