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
from safetensors.torch import save

from condense_nerfstudio.backbone.backbone_file import BackboneCard, open_backbone
from condense_nerfstudio.backbone.embedded_scene import EmbeddedScene
from condense_nerfstudio.backbone.nerf import load_nerf
from condense_nerfstudio.backbone.preparation import volume_of
from condense_nerfstudio.backbone.settings import VolumeConfig
from condense_nerfstudio.cpu import prepare_cpu
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import make_folder, replace_file
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.scene.condensation import condense_scene
from condense_nerfstudio.teachers.cache import default_cache_root


def embed(
    config_path: Path,
    backbone: Path,
    output_dir: Path,
    scene_id: str,
    num_keypoints: int,
    resolution: int | None,
    photographs: int,
    feature_volume: Path | None,
    overwrite: bool,
) -> dict[str, Any]:
    """Gives a NeRF features and condenses it, with a progress bar on standard error.

    Args:
        config_path: the config.yml of the NeRF's training.
        backbone: its file.
        output_dir: the condensed scene's folder.
        scene_id: the condensed scene's id.
        num_keypoints: how many points to keep.
        resolution: of the volume; the backbone's own by default.
        photographs: how many of the scene's photographs are lifted into the input; the NeRF alone is asked with none.
        feature_volume: file for the feature volume; None for none.
        overwrite: whether a condensed scene in output_dir may be replaced.

    Returns:
        "scene", "path", "keypoints", "nodes" (of the feature volume), and "seconds" of each part after loading.

    Raises:
        UserError: a file is missing, broken or of another version, or the scene's density is empty or not a number.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        prepare_cpu()
    model, card = open_backbone(backbone, device)
    if card.detector is None:
        raise UserError(
            f"Backbone {backbone} was trained without key points: use another, or train one with a detector."
        )
    nerf = load_nerf(config_path)
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("Volume", total=1.0)
        clock = time.monotonic()
        volume = volume_of(
            nerf,
            VolumeConfig(resolution=resolution or card.resolution),
            lambda share: bar.update(task, completed=0.5 * share),
        )
        made = time.monotonic()
        scene = EmbeddedScene(nerf, volume, model, card, default_cache_root(), photographs)
        embedded = time.monotonic()
        condensed = condense_scene(
            scene,
            num_keypoints,
            scene_id,
            progress=lambda what, share: bar.update(task, description=what, completed=0.5 + 0.5 * share),
        )
        done = time.monotonic()
    write_condensed_scene(condensed, output_dir, overwrite)
    if feature_volume is not None:
        write_feature_volume(scene, card, feature_volume)
    return {
        "scene": condensed.id,
        "path": str(output_dir),
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
    make_folder(path.parent)
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    try:
        replace_file(path, save(plain, metadata={"card": json.dumps(content)}))
    except OSError as error:
        raise UserError(f"Feature volume {path} cannot be written ({error.strerror}): choose another file.") from error
