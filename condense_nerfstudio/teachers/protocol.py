"""What every teacher offers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Teacher(Protocol):
    """A frozen network that turns an image into a grid of features."""

    name: str
    """Its name in TeacherConfig."""
    dim: int
    """Channels of a feature."""
    patch_size: int
    """Pixels of the network's input that one cell covers, on each axis."""

    @property
    def revision(self) -> str:
        """A short hash that changes whenever the features would: weights, layer, resolution or code."""
        ...

    def encode_image(self, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        """Features of a whole image with values in 0..1, without gradient, on the teacher's device.

        The image is resized to the teacher's resolution and never cropped, so the centre of cell (i, j) lies at pixel
        x = (j + 0.5) / wp * w, y = (i + 0.5) / hp * h of the given image (pixel centres at +0.5).
        """
        ...


@runtime_checkable
class TunableTeacher(Teacher, Protocol):
    """A teacher whose last blocks can be given LoRA (condense_nerfstudio/teachers/lora.py)."""

    @property
    def network(self) -> nn.Module:
        """The frozen network."""
        ...

    def encode_with(self, network: nn.Module, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        """What encode_image gives, from this network or one made after it, and with gradient."""
        ...

    def tunable_layers(self, blocks: int) -> list[str]:
        """Names, in the network, of the linear layers or convolutions to tune in its last blocks, in order.

        Args:
            blocks: how many of the blocks up to the one whose output is taken; all where there are fewer.
        """
        ...


@runtime_checkable
class LanguageTeacher(Teacher, Protocol):
    """A teacher that maps text into the space of its image features; both are unit vectors."""

    relevancy_temperature: float
    """Factor on cosines in the relevancy score."""
    relevancy_threshold: float
    """Relevancy above which a pixel or point answers a phrase."""
    canonical_phrases: tuple[str, ...]
    """Neutral phrases that a query must beat."""

    def encode_text(self, phrases: list[str]) -> Float[Tensor, "n dim"]:
        """Unit vectors of at least one phrase, each embedded as given."""
        ...
