"""What is in a gallery and where, as pure data drawn from random numbers.

Content (which photographs, which solids, which materials) and arrangement (size of the room, places) come from separate
generators: a near miss keeps the content and draws another arrangement.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from condense_nerfstudio.demo import catalogue
from condense_nerfstudio.demo.catalogue import Tones
from condense_nerfstudio.demo.textures import photograph_aspect

PICTURES = 6

WALL_GAP = 0.35
"""Least free wall beside a picture, metres."""

WHITE: Tones = ((0.82, 0.81, 0.79), (0.93, 0.93, 0.91))

PEDESTAL_TONES: tuple[Tones, ...] = (((0.58, 0.57, 0.55), (0.80, 0.79, 0.77)), *catalogue.FLOOR_TONES)


@dataclass(frozen=True)
class Material:
    """A repeating texture in two colours."""

    pattern: str
    tones: Tones
    seed: int
    repeat: float
    """Metres until the pattern repeats."""


@dataclass(frozen=True)
class Picture:
    """A framed photograph."""

    photograph: str
    crop: tuple[float, float, float, float]
    size: tuple[float, float]
    """Width and height of the photograph in metres, without frame."""
    frame: Material
    frame_width: float
    mat_width: float
    """Width of the white mat between photograph and frame; may be 0."""

    @property
    def outer_size(self) -> tuple[float, float]:
        """Width and height with mat and frame, metres."""
        border = 2 * (self.frame_width + self.mat_width)
        return self.size[0] + border, self.size[1] + border


@dataclass(frozen=True)
class ImageFile:
    """An image from outside the catalogue, once over the whole of a surface: a scan's texture, a print on the wall."""

    path: Path
    size: tuple[float, float]
    """Width and height that it covers, metres; the image is cropped to this shape."""


@dataclass(frozen=True)
class Solid:
    """A textured solid and its pedestal."""

    name: str
    shape: str
    radius: float
    material: Material
    pedestal: Material
    pedestal_size: tuple[float, float]
    """Side of its square plan and height, metres."""


@dataclass(frozen=True)
class Content:
    """All that can be seen, without places."""

    pictures: tuple[Picture, ...]
    solids: tuple[Solid, ...]
    floor: Material
    walls: tuple[Material, ...]
    """Four; the first is at +y, then clockwise seen from above."""
    ceiling: Material
    skirting: Material


@dataclass(frozen=True)
class Arrangement:
    """All places, in the room's frame: origin in the middle of the floor, z up, metres."""

    size: tuple[float, float, float]
    picture_places: tuple[tuple[int, float, float], ...]
    """For each picture: wall (0..3), position of its centre along the wall (to the right) and its height."""
    solid_places: tuple[tuple[float, float, float], ...]
    """For each solid: x, y and turn about z in radians."""
    lamps: tuple[tuple[float, float], ...]
    """x, y of each ceiling lamp."""
    texture_shift: tuple[tuple[float, float], ...]
    """Where floor, walls and ceiling start in their textures, metres."""


def draw_content(
    rng: np.random.Generator, photographs: Sequence[str] | None = None, solids: Sequence[str] | None = None
) -> Content:
    """Draws what a gallery holds: 4 to 6 solids and `PICTURES` photographs, three or four of which a phrase can find.

    Args:
        rng: source of randomness.
        photographs: names to choose from; None for the whole catalogue.
        solids: shapes to choose from; None for the whole catalogue.

    Raises:
        UserError: a name is not in the catalogue.
    """
    names = catalogue.restrict_to(photographs, [photograph.name for photograph in catalogue.PHOTOGRAPHS], "photograph")
    shapes = catalogue.restrict_to(solids, catalogue.SOLIDS, "solid")
    queryable = [name for name in names if catalogue.photograph_named(name).phrase is not None]
    others = [name for name in names if name not in queryable]
    chosen = _sample(rng, queryable, int(rng.integers(3, 5)))
    chosen += _sample(rng, others, PICTURES - len(chosen))
    frame = _material(rng, "wood", _choice(rng, catalogue.FRAME_TONES), 0.9)
    pedestal = _material(rng, _choice(rng, ("terrazzo", "marble", "wood")), _choice(rng, PEDESTAL_TONES), 1.3)
    floor = _choice(rng, tuple(catalogue.FLOOR_TEXTURES))
    wall, accent = _wall_materials(rng)
    accent_wall = int(rng.integers(4))
    textures = _sample(rng, catalogue.SOLID_TEXTURES, len(catalogue.SOLID_TEXTURES))
    return Content(
        pictures=tuple(_draw_picture(rng, name, frame) for name in chosen),
        solids=tuple(
            _draw_solid(rng, shape, texture, pedestal)
            for shape, texture in zip(_sample(rng, shapes, int(rng.integers(4, 7))), textures, strict=False)
        ),
        floor=_material(rng, floor, _choice(rng, catalogue.FLOOR_TONES), catalogue.FLOOR_TEXTURES[floor]),
        walls=tuple(accent if index == accent_wall else wall for index in range(4)),
        ceiling=_material(rng, "plaster", WHITE, 2.5),
        skirting=_material(rng, "wood", _choice(rng, (WHITE, *catalogue.FRAME_TONES)), 1.5),
    )


def draw_arrangement(rng: np.random.Generator, content: Content) -> Arrangement:
    """Draws the room's size and a place for everything; nothing overlaps, and pictures are spread over the walls."""
    size = (float(rng.uniform(5.0, 6.2)), float(rng.uniform(4.7, 5.6)), float(rng.uniform(3.0, 3.35)))
    return Arrangement(
        size=size,
        picture_places=_hang_pictures(rng, content.pictures, size),
        solid_places=_place_solids(rng, len(content.solids), size),
        lamps=tuple((x * size[0], y * size[1]) for x in (-0.23, 0.23) for y in (-0.22, 0.22)),
        texture_shift=tuple((float(u), float(v)) for u, v in rng.uniform(0, 2, (6, 2))),
    )


def _hang_pictures(
    rng: np.random.Generator, pictures: Sequence[Picture], size: tuple[float, float, float]
) -> tuple[tuple[int, float, float], ...]:
    """Deals the pictures to the walls in turn, in random order, and spreads each wall's pictures along it."""
    places: dict[int, tuple[int, float, float]] = {}
    order, walls = rng.permutation(len(pictures)), rng.permutation(4)
    for turn, wall in enumerate(walls):
        hung = [int(index) for index in order[turn::4]]
        length = size[0] if wall % 2 == 0 else size[1]
        widths = [pictures[index].outer_size[0] for index in hung]
        free = length - sum(widths) - WALL_GAP * (len(hung) + 1)
        gaps = WALL_GAP + free * rng.dirichlet([4.0] * (len(hung) + 1))
        left = -length / 2
        for index, width, gap in zip(hung, widths, gaps, strict=False):
            height = max(float(rng.uniform(1.5, 1.65)), 0.55 + pictures[index].outer_size[1] / 2)
            places[index] = (int(wall), float(left + gap + width / 2), height)
            left += gap + width
    return tuple(places[index] for index in range(len(pictures)))


def _place_solids(
    rng: np.random.Generator, count: int, size: tuple[float, float, float]
) -> tuple[tuple[float, float, float], ...]:
    """Up to two pedestals in the middle, the others in the corners; the ring between is left to the cameras."""
    middle = max(1 + int(rng.integers(2)), count - 4)
    turn = rng.uniform(0, 2 * np.pi)
    spots = [0.5 * np.array([np.cos(turn + np.pi * k), np.sin(turn + np.pi * k)]) * (middle > 1) for k in range(middle)]
    corners = np.array([(x, y) for x in (-1, 1) for y in (-1, 1)])[rng.permutation(4)]
    for corner in corners[: max(0, count - middle)]:
        spots.append(corner * (np.array(size[:2]) / 2 - rng.uniform(0.56, 0.7, 2)))
    order = rng.permutation(len(spots))[:count]
    return tuple((float(spots[k][0]), float(spots[k][1]), float(rng.uniform(0, 2 * np.pi))) for k in order)


def _draw_picture(rng: np.random.Generator, name: str, frame: Material) -> Picture:
    left, top = rng.uniform(0, 0.05, 2)
    crop = (float(left), float(top), float(1 - rng.uniform(0, 0.05)), float(1 - rng.uniform(0, 0.05)))
    aspect = photograph_aspect(name, crop)
    height = min(float(rng.uniform(1.15, 1.3)), 1.75 / aspect)
    mat = float(rng.choice([0.0, 0.06, 0.09]))
    return Picture(name, crop, (height * aspect, height), frame, float(rng.uniform(0.05, 0.08)), mat)


def _draw_solid(rng: np.random.Generator, shape: str, texture: str, pedestal: Material) -> Solid:
    material = _material(rng, texture, _vivid_tones(rng), float(rng.uniform(0.5, 0.8)))
    radius = float(rng.uniform(0.2, 0.27))
    pedestal_size = (2 * radius + 0.08, float(rng.uniform(0.55, 0.85)))
    return Solid(f"{texture} {shape}", shape, radius, material, pedestal, pedestal_size)


def _wall_materials(rng: np.random.Generator) -> tuple[Material, Material]:
    """The material of three walls and that of the fourth: other colour, often another pattern."""
    first, second = (int(index) for index in rng.choice(len(catalogue.WALL_TONES), 2, replace=False))
    patterns = [_choice(rng, tuple(catalogue.WALL_TEXTURES)) for _ in range(2)]
    return (
        _material(rng, patterns[0], catalogue.WALL_TONES[first], catalogue.WALL_TEXTURES[patterns[0]]),
        _material(rng, patterns[1], catalogue.WALL_TONES[second], catalogue.WALL_TEXTURES[patterns[1]]),
    )


def _vivid_tones(rng: np.random.Generator) -> Tones:
    """A dark and a light colour of nearby hues."""
    hue = float(rng.uniform())
    dark = colorsys.hsv_to_rgb(hue, float(rng.uniform(0.5, 0.8)), float(rng.uniform(0.15, 0.4)))
    light = colorsys.hsv_to_rgb(
        (hue + float(rng.uniform(-0.12, 0.12))) % 1, float(rng.uniform(0.2, 0.6)), float(rng.uniform(0.85, 1.0))
    )
    return dark, light


def _material(rng: np.random.Generator, pattern: str, tones: Tones, repeat: float) -> Material:
    return Material(pattern, tones, int(rng.integers(2**31)), repeat)


def _choice(rng: np.random.Generator, options: Sequence):
    return options[int(rng.integers(len(options)))]


def _sample(rng: np.random.Generator, options: Sequence[str], count: int) -> list[str]:
    """`count` different options in random order, or all of them."""
    return [options[int(index)] for index in rng.permutation(len(options))[:count]]
