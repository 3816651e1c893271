"""Both branches, shared by all scenes: the backbone in 3D, adapters in 2D, and what ties them together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from condense_nerfstudio.backbone.embedding import Embedding
from condense_nerfstudio.backbone.marching import March
from condense_nerfstudio.backbone.network import Backbone, NetworkConfig
from condense_nerfstudio.backbone.octree import Nodes, corners, interpolate
from condense_nerfstudio.scene.heads import TeacherHead, heaviest_points
from condense_nerfstudio.scene.keypoint_head import START, KeypointMapHead
from condense_nerfstudio.teachers.lora import Lora, LoraShape, TunedTeacher
from condense_nerfstudio.teachers.protocol import Teacher, TunableTeacher

_LEAST_OPACITY = 1e-3


@dataclass(frozen=True)
class JointConfig:
    """What a backbone and its 2D branch are made of."""

    network: NetworkConfig
    teachers: Mapping[str, int]
    """Channels by name; the first is the one that the 2D key-point head reads."""
    feature_dim: int = 64
    """Length of the vector that is rendered for each teacher."""
    adapter_dim: int = 64
    adapter_kernel: int = 9
    keypoint_hidden_dim: int = 32
    tones: int = 8
    """Words a colour channel in the vocabulary of scene embeddings; their cube is an embedding's length."""
    samples_per_ray: int = 8
    """Samples at which a ray reads the feature volume: those with the largest weights."""
    lora: Mapping[str, LoraShape] = field(default_factory=dict)
    """Of the teachers that the 2D branch tunes, by name."""


@dataclass(frozen=True)
class FeatureVolume:
    """What the backbone says of a scene."""

    nodes: Nodes
    values: Float[Tensor, "nodes c"]
    """The teachers' low-dimensional features, one after another, and the key-point head's answer."""


@dataclass(frozen=True)
class Rendered:
    """What rays see of a feature volume."""

    features: dict[str, Float[Tensor, "rays c"]]
    """R(r), centred, by teacher."""
    keypoint: Float[Tensor, " rays"]
    """K(r)."""


class JointModel(nn.Module):
    """The network of cross-scene training.

    Args:
        config: its parts.
    """

    mixed_precision = False
    """Whether the backbone's products are in bfloat16; all else is in single precision."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.network)
        self.heads = nn.ModuleDict(
            {
                name: TeacherHead(dim, min(config.feature_dim, dim), config.adapter_dim, config.adapter_kernel)
                for name, dim in config.teachers.items()
            }
        )
        width = config.network.output_dim
        self.projections = nn.ModuleDict(
            {name: nn.Linear(width, self.head(name).decoder.in_features) for name in config.teachers}
        )
        lifted = config.network.lifted_dim // len(config.teachers)
        self.lifts = nn.ModuleDict({name: nn.Linear(dim, lifted, bias=False) for name, dim in config.teachers.items()})
        self.keypoints = nn.Linear(width, 1)
        nn.init.constant_(self.keypoints.bias, START)
        first = next(iter(config.teachers.values()))
        self.map_head = KeypointMapHead(first, config.keypoint_hidden_dim)
        self.embedding = Embedding(sum(config.teachers.values()), config.tones)
        self.lora = nn.ModuleDict({name: Lora(shape) for name, shape in config.lora.items()})
        self._tuned: dict[str, TunedTeacher] = {}

    def head(self, teacher: str) -> TeacherHead:
        """A teacher's statistics, decoder and adapter."""
        head = self.heads[teacher]
        assert isinstance(head, TeacherHead)
        return head

    def tune(self, teacher: Teacher) -> None:
        """Brings a loaded teacher, of which the model keeps the LoRA only; of one without LoRA nothing is needed.

        Args:
            teacher: on the model's device; it stays as it is.

        Raises:
            UserError: peft is not installed.
            ValueError: the LoRA was made for another network.
        """
        if teacher.name in self.config.lora:
            lora = self.lora[teacher.name]
            assert isinstance(teacher, TunableTeacher) and isinstance(lora, Lora)
            self._tuned[teacher.name] = TunedTeacher(teacher, lora)

    def tuned(self, teacher: str) -> TunedTeacher:
        """A teacher of `config.lora` with its LoRA as it is now; it must have been brought (:meth:`tune`)."""
        return self._tuned[teacher]

    def forward(self, nodes: Nodes, lifted: Float[Tensor, "nodes _"] | None = None) -> FeatureVolume:
        """The feature volume of a scene.

        Args:
            nodes: of the scene.
            lifted: what photographs see there, of maps as :meth:`to_lift` makes them; None: from the NeRF alone.
        """
        with torch.autocast(nodes.inputs.device.type, torch.bfloat16, enabled=self.mixed_precision):
            output = self.backbone(nodes, lifted)
        output = output.float()
        parts = [projection(output) for projection in self.projections.values()]
        return FeatureVolume(nodes, torch.cat([*parts, torch.sigmoid(self.keypoints(output))], dim=1))

    def to_lift(self, maps: Mapping[str, Float[Tensor, "_ _ c"]]) -> Float[Tensor, "_ _ lifted"]:
        """A photograph's features in few channels, on the first teacher's grid.

        Args:
            maps: the 2D branch's features G, centred, by teacher.
        """
        first = maps[next(iter(self.config.teachers))]
        parts = [self.lifts[name](maps[name]) for name in self.config.teachers]
        return torch.cat([_on_grid(part, (first.shape[0], first.shape[1])) for part in parts], dim=-1)

    def render(self, volume: FeatureVolume, marched: March) -> Rendered:
        """Renders rays: interpolation and compositing in one weighted sum of nodes.

        What the volume's threshold took from a ray is given back: the weights of a ray sum to one.

        Args:
            volume: of the scene.
            marched: the rays, through the scene's volume.
        """
        positions, weights = heaviest_points(marched.positions, marched.weights, self.config.samples_per_ray)
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=_LEAST_OPACITY)
        indices, shares = corners(volume.nodes, positions.reshape(-1, 3))
        rays, samples = weights.shape
        shares = shares.view(rays, samples, 8) * weights[..., None]
        values = interpolate(volume.values, indices.view(rays, -1), shares.view(rays, -1))
        return self.decoded(values)

    def decoded(self, values: Float[Tensor, "n c"]) -> Rendered:
        """From a feature volume's channels to features in the space of the losses."""
        sizes = [self.head(name).decoder.in_features for name in self.config.teachers]
        parts = values.split([*sizes, 1], dim=1)
        features = {
            name: self.head(name).decoder(part) for name, part in zip(self.config.teachers, parts, strict=False)
        }
        return Rendered(features, parts[-1][:, 0])

    def scene_embedding(self, volume: FeatureVolume, most: int = 2048) -> Float[Tensor, " e"]:
        """The embedding of a scene, from its own features alone; see :meth:`scene_elements`."""
        return self.embedding(*self.scene_elements(volume, most))

    def scene_elements(
        self, volume: FeatureVolume, most: int = 2048
    ) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n f"]]:
        """Colours and features of a scene's nodes, which its embedding counts.

        Args:
            volume: of the scene.
            most: nodes that are looked at, evenly chosen.
        """
        count = len(volume.values)
        chosen = torch.linspace(0, count - 1, min(most, count), device=volume.values.device).round().long()
        features = self.decoded(volume.values.index_select(0, chosen)).features
        colors = volume.nodes.colors().index_select(0, chosen)
        return colors, torch.cat(list(features.values()), dim=1)

    def image_embedding(
        self, image: Float[Tensor, "h w 3"], maps: Mapping[str, Float[Tensor, "_ _ c"]]
    ) -> Float[Tensor, " e"]:
        """The embedding of a photograph, comparable with that of scenes; see :meth:`image_elements`."""
        return self.embedding(*self.image_elements(image, maps))

    def image_elements(
        self, image: Float[Tensor, "h w 3"], maps: Mapping[str, Float[Tensor, "_ _ c"]]
    ) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n f"]]:
        """Colours and features of a photograph's cells, which its embedding counts.

        Args:
            image: the photograph, in 0..1.
            maps: the 2D branch's features G, centred, by teacher.
        """
        first = maps[next(iter(self.config.teachers))]
        shape = (first.shape[0], first.shape[1])
        resized = [_on_grid(maps[name], shape) for name in self.config.teachers]
        colors = nn.functional.interpolate(image.permute(2, 0, 1)[None], shape, mode="area")[0].permute(1, 2, 0)
        return colors.flatten(0, 1), torch.cat(resized, dim=-1).flatten(0, 1)


def _on_grid(feature_map: Float[Tensor, "_ _ c"], shape: tuple[int, int]) -> Float[Tensor, "_ _ c"]:
    """A feature map at another resolution."""
    if feature_map.shape[:2] == shape:
        return feature_map
    resized = nn.functional.interpolate(feature_map.permute(2, 0, 1)[None], shape, mode="bilinear", align_corners=False)
    return resized[0].permute(1, 2, 0)
