"""What a demo gallery can hold: photographs, solids, textures and colours, each in one small table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from condense_nerfstudio.errors import UserError

Colour = tuple[float, float, float]
"""sRGB in [0, 1]."""

Tones = tuple[Colour, Colour]
"""The colours of a texture's darkest and lightest points."""


@dataclass(frozen=True)
class Photograph:
    """A photograph that ships inside scikit-image's wheel (folder skimage/data)."""

    name: str
    """Name of the object in ground truth; also its semantic class."""
    file: str
    """File name in skimage/data."""
    phrase: str | None
    """The text question that should find it; None for pictures that only distract."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """The useful part: left, top, right, bottom as fractions of the image."""


PHOTOGRAPHS = (
    Photograph("cat", "chelsea.png", "a cat"),
    Photograph("cup of coffee", "coffee.png", "a cup of coffee", crop=(0.1, 0.0, 1.0, 1.0)),
    Photograph("astronaut", "astronaut.png", "an astronaut"),
    Photograph("rocket", "rocket.jpg", "a rocket", crop=(0.12, 0.0, 0.95, 1.0)),
    Photograph("motorcycle", "motorcycle_left.png", "a motorcycle", crop=(0.08, 0.08, 1.0, 1.0)),
    Photograph("photographer", "camera.png", None),
    Photograph("coins", "coins.png", None, crop=(0.02, 0.0, 0.98, 0.94)),
    Photograph("moon", "moon.png", None),
    Photograph("galaxies", "hubble_deep_field.jpg", None),
    Photograph("retina", "retina.jpg", None, crop=(0.12, 0.12, 0.88, 0.88)),
    Photograph("tissue", "ihc.png", None),
)

SOLIDS = ("box", "sphere", "cylinder", "cone", "torus", "vase", "ziggurat")

STRUCTURE = ("floor", "wall", "ceiling", "pedestal")

CLASS_NAMES = ("nothing", *STRUCTURE, *(photograph.name for photograph in PHOTOGRAPHS), *SOLIDS)
"""Semantic class by class-mask value, the same in every scene; 0 never occurs indoors."""

SOLID_TEXTURES = ("bricks", "gravel", "grass", "coins", "moon", "checker", "planks", "marble", "terrazzo", "lattice")
FLOOR_TEXTURES = {"planks": 1.7, "parquet": 2.0, "checker": 2.6, "terrazzo": 2.0}
"""Metres until the pattern repeats, by pattern."""
WALL_TEXTURES = {"plaster": 2.2, "bricks": 1.5, "stripes": 2.4, "lattice": 2.0}
"""Likewise."""

WALL_TONES: tuple[Tones, ...] = (
    ((0.80, 0.77, 0.71), (0.94, 0.92, 0.87)),  # warm white
    ((0.55, 0.62, 0.53), (0.74, 0.79, 0.69)),  # sage
    ((0.47, 0.58, 0.68), (0.69, 0.77, 0.84)),  # dusty blue
    ((0.66, 0.42, 0.32), (0.83, 0.61, 0.48)),  # terracotta
    ((0.75, 0.62, 0.36), (0.90, 0.79, 0.54)),  # ochre
    ((0.70, 0.55, 0.55), (0.87, 0.74, 0.72)),  # old rose
    ((0.22, 0.36, 0.34), (0.40, 0.54, 0.50)),  # bottle green
    ((0.24, 0.30, 0.44), (0.42, 0.49, 0.62)),  # navy
)
FLOOR_TONES: tuple[Tones, ...] = (
    ((0.34, 0.21, 0.12), (0.72, 0.51, 0.33)),  # oak
    ((0.22, 0.12, 0.08), (0.53, 0.33, 0.22)),  # walnut
    ((0.50, 0.40, 0.29), (0.86, 0.75, 0.59)),  # birch
    ((0.33, 0.33, 0.35), (0.82, 0.80, 0.77)),  # stone
    ((0.30, 0.17, 0.14), (0.80, 0.66, 0.54)),  # red clay
)
FRAME_TONES: tuple[Tones, ...] = (
    ((0.12, 0.08, 0.05), (0.34, 0.22, 0.14)),  # dark wood
    ((0.45, 0.32, 0.12), (0.80, 0.64, 0.32)),  # gilt
    ((0.05, 0.05, 0.06), (0.16, 0.16, 0.17)),  # black
    ((0.80, 0.79, 0.76), (0.97, 0.96, 0.94)),  # white
)


def restrict_to(allowed: Sequence[str] | None, available: Sequence[str], kind: str) -> tuple[str, ...]:
    """The names of `available` that are in `allowed`, in catalogue order; all of them where `allowed` is None.

    Raises:
        UserError: a name is not in the catalogue, or nothing is left.
    """
    if allowed is None:
        return tuple(available)
    unknown = sorted(set(allowed) - set(available))
    if unknown or not allowed:
        wrong = ", ".join(unknown) or "nothing"
        raise UserError(f"The demo catalogue has no {kind} {wrong}: choose from {', '.join(available)}.")
    return tuple(name for name in available if name in allowed)


def photograph_named(name: str) -> Photograph:
    """The photograph of that name."""
    return next(photograph for photograph in PHOTOGRAPHS if photograph.name == name)
