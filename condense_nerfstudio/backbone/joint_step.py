"""The losses of one scene in one step of cross-scene training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.backbone.joint import JointModel
from condense_nerfstudio.backbone.lifting import lift
from condense_nerfstudio.backbone.octree import Nodes, Turn, to_nodes
from condense_nerfstudio.backbone.scenes import Look, Scene, look
from condense_nerfstudio.backbone.settings import StepConfig
from condense_nerfstudio.scene.feature_step import BranchMaps, branch_maps, feature_losses, keypoint_step_losses
from condense_nerfstudio.teachers.cache import read_rgb

LARGEST_GAIN = 0.2
"""Largest logarithm of the factor on a photograph's brightness before it is embedded."""


@dataclass(frozen=True)
class SceneLosses:
    """What one scene says in one step."""

    losses: dict[str, Float[Tensor, ""]]
    """Weighted terms, by name."""
    embedding: Float[Tensor, " e"]
    """Of the scene, without gradient."""


def scene_losses(
    model: JointModel, scene: Scene, others: Float[Tensor, "s e"], config: StepConfig, seed: Sequence[int]
) -> SceneLosses:
    """Both branches on random rays of random photographs of a scene.

    Args:
        model: the network, with the teachers of its LoRA (:meth:`JointModel.tune`).
        scene: the scene.
        others: embeddings of other scenes.
        config: what to look at.
        seed: of all that is random here; the same seed gives the same losses, whatever was drawn before.
    """
    random = np.random.default_rng(seed)
    device = others.device
    turn = Turn(int(random.integers(4)), bool(random.integers(2)))
    nodes = to_nodes(scene.volume, turn, device)
    thickness = scene.volume.dense_thickness().to(device)
    looked, images = random_look(scene, thickness, config, random)
    lifted = None
    if random.random() < config.lifted_share and model.config.network.lifted_dim:
        free = [image for image in scene.views.indices(held_out=False) if image not in images]
        count = min(config.lifted_images, len(free))
        chosen = random.choice(free, count, replace=False).tolist() if count else images
        lifted = lifted_features(model, scene, thickness, nodes, chosen)
    volume = model(nodes, lifted)
    rendered = model.render(volume, looked.marched)
    heads = {name: model.head(name) for name in model.config.teachers}
    tuned = model.config.lora if config.train_2d else ()
    contrasted = bool(config.scene_contrast and len(others))
    shown = images if tuned or contrasted else ()
    photographs = [read_rgb(scene.views.images[image]).to(device) for image in shown]
    live = {name: [model.tuned(name).encode(photograph) for photograph in photographs] for name in tuned}
    maps = branch_maps(heads, looked.targets, live)
    if not config.train_2d:
        maps = {name: BranchMaps(branch.teacher, branch.teacher) for name, branch in maps.items()}
    # The contrast of feature_losses draws its rays with torch's own numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**62)))
        losses = feature_losses(maps, rendered.features, looked.targets, looked.surface, config.feature_losses)
    if scene.heat:
        first = maps[next(iter(maps))]
        losses |= keypoint_step_losses(model.map_head, first, rendered.keypoint, looked.targets, config.keypoint_losses)
    embedding = model.scene_embedding(volume)
    if contrasted:
        # Exposures differ between captures of one place.
        gain = float(np.exp(random.uniform(-LARGEST_GAIN, LARGEST_GAIN)))
        found = torch.stack([
            model.image_embedding((photograph * gain).clamp(max=1.0), of_image)
            for photograph, of_image in zip(photographs, _by_image(maps), strict=True)
        ])  # fmt: skip
        contrast = model.embedding.contrast(found, embedding, others)
        losses["scene_contrast"] = config.scene_contrast * contrast
    return SceneLosses(losses, embedding.detach())


def lifted_features(
    model: JointModel, scene: Scene, thickness: Float[Tensor, "r r r"], nodes: Nodes, images: Sequence[int]
) -> Float[Tensor, "nodes _"]:
    """What photographs see at the nodes of a scene, by the 2D branch; no gradient reaches the branch from here.

    Args:
        model: the network.
        scene: the scene.
        thickness: of its volume, dense.
        nodes: of the scene.
        images: which photographs.
    """
    cameras, maps = [], []
    for image in images:
        maps.append(model.to_lift(adapted_maps(model, scene, image, thickness.device)))
        cameras.append(scene.views.cameras[image : image + 1])
    return lift(scene.volume, thickness, nodes, cameras, maps)


@torch.no_grad()
def adapted_maps(
    model: JointModel, scene: Scene, image: int, device: torch.device
) -> dict[str, Float[Tensor, "_ _ c"]]:
    """The 2D branch's features G of a photograph, centred, by teacher.

    A teacher with LoRA is run on the photograph; of the others the scene's maps are taken.

    Args:
        model: the network, with the teachers of its LoRA (:meth:`JointModel.tune`).
        scene: whose photograph it is.
        image: which.
        device: where the network is.
    """
    maps = {}
    for name in model.config.teachers:
        head = model.head(name)
        if name in model.config.lora:
            raw = model.tuned(name).encode(read_rgb(scene.views.images[image]).to(device))
        else:
            raw = torch.from_numpy(np.array(scene.maps[name][image], dtype=np.float32)).to(device)
        maps[name] = head.adapter(head.center(raw))
    return maps


def random_look(
    scene: Scene, thickness: Float[Tensor, "r r r"], config: StepConfig, random: np.random.Generator
) -> tuple[Look, list[int]]:
    """Rays through random pixels of random training photographs, and which photographs these are."""
    trained = scene.views.indices(held_out=False)
    images = random.choice(trained, min(config.images_per_scene, len(trained)), replace=False).tolist()
    pixels = []
    for image in images:
        height, width = scene.views.image_size(image)
        drawn = random.random((config.rays_per_scene // len(images), 2), dtype=np.float32)
        pixels.append(torch.from_numpy(drawn * np.array([width, height], dtype=np.float32)))
    return look(scene, thickness, images, pixels, thickness.device), images


def _by_image(maps: Mapping[str, BranchMaps]) -> list[dict[str, Float[Tensor, "_ _ c"]]]:
    """The 2D branch's maps of each photograph, by teacher."""
    flat = {name: [one for batch in branch.adapted for one in batch] for name, branch in maps.items()}
    return [dict(zip(flat, values, strict=True)) for values in zip(*flat.values(), strict=True)]
