"""Small rooms whose volumes, photographs and feature maps are made up: no NeRF is trained for them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras
from PIL import Image
from torch import Tensor, nn

from condense_nerfstudio.backbone.joint import JointConfig, JointModel
from condense_nerfstudio.backbone.network import NetworkConfig
from condense_nerfstudio.backbone.scenes import Scene
from condense_nerfstudio.backbone.settings import PretrainingConfig, StepConfig
from condense_nerfstudio.backbone.views import Views
from condense_nerfstudio.backbone.volume import SceneVolume, VolumeCard
from condense_nerfstudio.teachers.cache import read_rgb
from condense_nerfstudio.teachers.lora import lora_shape

RESOLUTION = 64
STEP = StepConfig(images_per_scene=2, rays_per_scene=128)
TRAINING = PretrainingConfig(steps=6, scenes_per_step=2, warmup=1, steps_per_save=2, step=STEP)
TEACHERS = {"first": 6, "second": 5}
SMALL = NetworkConfig((8, 8), (1, 1), (1,), 8, lifted_dim=4)
CARD = VolumeCard(
    "nerfacto",
    "0" * 64,
    ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0,) * 3 + (1.0,)),
    0.1,
    9,
)


def room(seed: int = 0) -> SceneVolume:
    """A hollow box, from -1 to 1, with walls one cell thick and a ball in it."""
    axis = torch.arange(RESOLUTION)
    cells = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
    walls = ((cells == 2) | (cells == RESOLUTION - 3)).any(dim=1) & ((cells >= 2) & (cells <= RESOLUTION - 3)).all(
        dim=1
    )
    ball = ((cells - torch.tensor([40, 30, 20])).float().norm(dim=1) - 8).abs() < 1
    cells = cells[walls | ball]
    # Colours that change slowly, so that there is something to recognise.
    waves = torch.sin(cells.float() @ torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)) * 0.15)
    return SceneVolume(
        resolution=RESOLUTION,
        origin=torch.tensor([-1.0, -1.0, -1.0]),
        side=2.0 / RESOLUTION,
        cells=cells.to(torch.uint8),
        thickness=torch.full((len(cells),), 3.0).half(),
        colors=(127.5 + 127.0 * waves).to(torch.uint8),
        card=CARD,
    )


FOLDER = tempfile.TemporaryDirectory()
"""Where the photographs are; it goes with the process."""


@cache
def photograph(index: int) -> Path:
    """A photograph of noise."""
    file = Path(FOLDER.name) / f"{index}.png"
    Image.fromarray(np.random.default_rng(index).integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(file)
    return file


def views(count: int = 4, held_out: int = 1) -> Views:
    """Cameras in the middle that look around, at 32 by 24 pixels."""
    poses = []
    for i in range(count):
        angle = 2 * np.pi * i / count
        ahead, up = np.array([np.cos(angle), np.sin(angle), 0.0]), np.array([0.0, 0.0, 1.0])
        poses.append(np.stack([np.cross(ahead, up), up, -ahead, [0.0, 0.0, 0.0]], axis=1))
    cameras = Cameras(
        camera_to_worlds=torch.tensor(np.stack(poses), dtype=torch.float32),
        fx=torch.full((count, 1), 20.0),
        fy=torch.full((count, 1), 20.0),
        cx=torch.full((count, 1), 16.0),
        cy=torch.full((count, 1), 12.0),
        width=torch.full((count, 1), 32),
        height=torch.full((count, 1), 24),
        distortion_params=torch.zeros(count, 6),
    )
    images = [photograph(i) for i in range(count)]
    return Views(images, cameras, [i >= count - held_out for i in range(count)])


def scene(seed: int = 0) -> Scene:
    """A room with random feature maps."""
    random = np.random.default_rng(seed)
    posed = views()

    def maps(rows: int, columns: int, channels: int) -> list[np.ndarray]:
        return [random.standard_normal((rows, columns, channels)).astype(np.float16) for _ in posed.images]

    heat = [random.random((12, 16)).astype(np.float16) for _ in posed.images]
    return Scene(f"room{seed}", room(seed), posed, {"first": maps(6, 8, 6), "second": maps(3, 4, 5)}, heat)


def model(seed: int = 0) -> JointModel:
    """A tiny network for the rooms."""
    torch.manual_seed(seed)
    return JointModel(JointConfig(SMALL, TEACHERS, feature_dim=4, adapter_dim=4, adapter_kernel=3, tones=2))


class TinyTeacher:
    """The first teacher as a network that can have LoRA; a cell covers four pixels of a photograph."""

    name, dim, patch_size, revision = "first", TEACHERS["first"], 4, "tiny"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.network = nn.Sequential(nn.Conv2d(3, 6, 4, stride=4), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 1))
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
        self.network.eval().requires_grad_(False)

    def encode_image(self, image: Tensor) -> Tensor:
        return self.encode_with(self.network, image)

    def encode_with(self, network: nn.Module, image: Tensor) -> Tensor:
        return network(image.permute(2, 0, 1)[None])[0].permute(1, 2, 0)

    def tunable_layers(self, blocks: int) -> list[str]:
        return ["3"][:blocks]


def seen_scene(seed: int = 0) -> Scene:
    """A room whose first feature maps are what the tiny teacher says of its photographs."""
    plain, teacher = scene(seed), TinyTeacher()
    maps = [teacher.encode_image(read_rgb(image)).half().numpy() for image in plain.views.images]
    return replace(plain, maps={**plain.maps, "first": maps})


def tuned_model(seed: int = 0) -> JointModel:
    """A tiny network whose first teacher has LoRA."""
    plain, teacher = model(seed), TinyTeacher()
    tuned = JointModel(replace(plain.config, lora={"first": lora_shape(teacher, 2, 1)}))
    tuned.load_state_dict(plain.state_dict(), strict=False)
    tuned.tune(teacher)
    return tuned
