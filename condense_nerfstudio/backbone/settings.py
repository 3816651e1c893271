"""What cross-scene training can be told; light, so that --help is there at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.config import DetectorConfig
from condense_nerfstudio.scene.loss_config import FeatureLossConfig, KeypointLossConfig
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.registry import TUNABLE_TEACHER_NAMES

Size = Literal["lite", "base"]
Launcher = Literal["local", "ray"]

RESOLUTIONS = (64, 128, 256)
"""Cells a side that a volume may have: powers of two, so that octrees fit."""


@dataclass(frozen=True)
class VolumeConfig:
    """How scene volumes are made."""

    resolution: int = 128
    """Cells a side: 64, 128 or 256."""
    least_weight: float = 0.1
    """A cell is kept if a ray has so much of its rendering weight, of 1 in all, in half a cell's length of it; the cell
    of its median is kept always."""
    rays: int = 200_000
    """Rays of the training cameras that find out which cells are seen."""

    def __post_init__(self) -> None:
        if self.resolution not in RESOLUTIONS:
            raise UserError(f"--resolution is {self.resolution}: choose {', '.join(map(str, RESOLUTIONS))}.")
        if not 0.0 < self.least_weight < 1.0:
            raise UserError(f"--least-weight is {self.least_weight}: give a number between 0 and 1.")


@dataclass(frozen=True)
class FleetConfig:
    """How the NeRFs are trained."""

    method: str = "condense-lite"
    """nerfstudio method; condense and condense-lite are trained without features, which stage three learns."""
    steps: int = 1000
    """Training steps of a NeRF."""
    workers: int = 1
    """NeRFs that are trained at the same time on this machine; they share the processor's cores."""
    cores: int = 1
    """Processor cores, and a GPU where the cluster has any, that Ray keeps for a NeRF."""
    retries: int = 3
    """How often Ray takes a NeRF up again whose machine has died."""
    held_out: float = 0.1
    """Share of a capture's photographs that is kept for measuring."""

    def __post_init__(self) -> None:
        for name in ("steps", "workers", "cores"):
            if getattr(self, name) < 1:
                raise UserError(f"--nerfs.{name} is {getattr(self, name)}: give a positive number.")
        if self.retries < 0:
            raise UserError(f"--nerfs.retries is {self.retries}: give a number, or 0 for none.")
        if not 0.0 < self.held_out < 1.0:
            raise UserError(f"--nerfs.held-out is {self.held_out}: give a number between 0 and 1.")


@dataclass(frozen=True)
class StepConfig:
    """What a step looks at, and how its losses are weighed."""

    images_per_scene: int = 4
    """Photographs a scene on which features are compared."""
    rays_per_scene: int = 4096
    """Rays a scene; they cost little beside the network."""
    feature_losses: FeatureLossConfig = field(default_factory=lambda: FeatureLossConfig(whole_cells=True))
    """Consistency and anchors."""
    keypoint_losses: KeypointLossConfig = field(default_factory=KeypointLossConfig)
    """The key-point heads."""
    scene_contrast: float = 0.2
    """Weight of the contrast between embeddings of photographs and of scenes."""
    lifted_images: int = 8
    """Photographs whose features are lifted into the input, in the steps in which they are."""
    lifted_share: float = 0.4
    """Share of steps in which they are; in the others the backbone sees the NeRF alone."""
    train_2d: bool = True
    """Train the 2D branch too; off, only the 3D branch learns, from the frozen teachers."""


@dataclass(frozen=True)
class PretrainingConfig:
    """How a backbone is trained."""

    steps: int = 1000
    """Steps of the optimizer."""
    scenes_per_step: int = 2
    """Scenes a step, one after another: memory does not grow with them."""
    learning_rate: float = 2e-3
    """Of AdamW, for heads and biases, at its peak; it warms up and then falls like a cosine."""
    matrix_learning_rate: float = 5e-3
    """Of Muon, for the backbone's matrices and kernels; likewise."""
    warmup: int = 30
    """Steps until the learning rates are at their peaks."""
    weight_decay: float = 0.01
    """Of both optimizers."""
    lora_rank: int = 0
    """Rank of the LoRA on the last blocks of the visual teacher, efficientnet or dinov2, which is then trained too and
    run on every photograph that is looked at; 0 leaves the teachers as they are. Needs the extra lora."""
    lora_blocks: int = 4
    """Last blocks of the teacher that get LoRA, up to the one whose output is taken."""
    lora_learning_rate: float = 5e-4
    """Of AdamW, for the LoRA, at its peak."""
    longest_gradient: float = 1.0
    """Gradients are cut to this length."""
    mixed_precision: bool = True
    """On CUDA: the backbone's products in bfloat16."""
    seed: int = 0
    """Of all that is random."""
    steps_per_save: int = 50
    """Steps between two saves of the state."""
    step: StepConfig = field(default_factory=StepConfig)
    """What a step looks at."""

    def __post_init__(self) -> None:
        for flag, value in (("--steps", self.steps), ("--scenes-per-step", self.scenes_per_step)):
            if value < 1:
                raise UserError(f"{flag} is {value}: give a positive number.")
        if self.lora_rank < 0:
            raise UserError(f"--training.lora-rank is {self.lora_rank}: give a positive number, or 0 for none.")
        if self.lora_blocks < 1:
            raise UserError(f"--training.lora-blocks is {self.lora_blocks}: give a positive number.")
        if self.lora_rank and not self.step.train_2d:
            raise UserError("--training.lora-rank belongs to the 2D branch: leave out --training.step.no-train-2d.")


@dataclass(frozen=True)
class PretrainConfig:
    """All that decides about a backbone."""

    scenes: tuple[Path, ...]
    """Captures in nerfstudio's format, or folders of captures."""
    output_dir: Path
    """Folder for the NeRFs, the volumes, the backbone and report.json."""
    size: Size = "lite"
    """Size of the network: lite (2 million parameters) or base (12 million)."""
    train_nerfs: bool = True
    """Train the NeRFs that are missing; off, a scene without one is left out."""
    launcher: Launcher = "local"
    """What trains the NeRFs. local: processes on this machine; ray: tasks on a running Ray cluster (the one that
    RAY_ADDRESS names, or this machine's), whose machines see captures and output folder under the same paths."""
    nerfs: FleetConfig = field(default_factory=FleetConfig)
    """Stage one: a NeRF for every capture."""
    volumes: VolumeConfig = field(default_factory=VolumeConfig)
    """Stage two: a volume of every NeRF."""
    training: PretrainingConfig = field(default_factory=PretrainingConfig)
    """Stage three: the backbone."""
    visual: TeacherConfig = field(default_factory=lambda: TeacherConfig(name="efficientnet"))
    """The teacher of visual features."""
    language: TeacherConfig = field(default_factory=lambda: TeacherConfig(name="conse"))
    """The teacher whose features can be compared with text."""
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    """The detector of key points."""
    cache_dir: Path | None = None
    """Folder for the teachers' feature maps; by default condense_nerfstudio in the user's cache folder."""

    def __post_init__(self) -> None:
        if self.training.lora_rank and self.visual.name not in TUNABLE_TEACHER_NAMES:
            raise UserError(
                f"Teacher {self.visual.name} can have no LoRA: "
                f"set --visual.name to {' or '.join(TUNABLE_TEACHER_NAMES)}, or --training.lora-rank 0."
            )


@dataclass(frozen=True)
class EmbedConfig:
    """What is given features by a backbone, and where the result goes."""

    load_config: Path
    """The config.yml of the training."""
    output_dir: Path
    """Folder for the condensed scene; it is made."""
    backbone: str = "lite"
    """lite, the backbone that ships, or a backbone's file as `condense pretrain` writes it."""
    id: str | None = None
    """The scene's id; by default the name of the output folder."""
    num_keypoints: int = 512
    """How many key points to keep."""
    resolution: int | None = None
    """Cells a side of the volume: 64, 128 or 256; by default what the backbone was trained on."""
    photographs: int = 0
    """Lift the features of so many of the scene's photographs into the backbone's input, evenly chosen: nearer to the
    teachers than from the NeRF alone."""
    feature_volume: Path | None = None
    """Write the feature volume to this safetensors file, too."""
    overwrite: bool = False
    """Replace a condensed scene in the output folder."""

    def __post_init__(self) -> None:
        if self.photographs < 0:
            raise UserError(f"--photographs is {self.photographs}: give a number of photographs, or 0 for none.")
