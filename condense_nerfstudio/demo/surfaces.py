"""From a gallery's data to textured meshes, each belonging to an object."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from condense_nerfstudio.demo import geometry
from condense_nerfstudio.demo.catalogue import photograph_named
from condense_nerfstudio.demo.geometry import FloatArray, Mesh
from condense_nerfstudio.demo.room import Arrangement, Content, ImageFile, Material, Picture, Solid

LIGHT_CELL = 0.14
"""Spacing of the vertices that carry the light on large surfaces, metres."""

LAMP_SIZE = (1.2, 0.5, 0.06)

Paint = Material | Picture | ImageFile | None
"""A repeating material, a photograph, another image, or None for a glowing lamp."""


@dataclass(frozen=True)
class Surface:
    """A mesh with one texture; `mesh.uv` is in texture lengths: 1 is one repeat, or the whole photograph."""

    mesh: Mesh
    paint: Paint


@dataclass
class SceneObject:
    """Something with a name, a class and a box, made of surfaces."""

    name: str
    class_name: str
    kind: str
    """structure, pedestal, photograph or solid."""
    phrase: str | None
    rotation: FloatArray
    """(3, 3): axes of its oriented box in the room's frame, as columns."""
    surfaces: list[Surface] = field(default_factory=list)

    @property
    def vertices(self) -> FloatArray:
        """All of its vertices in the room's frame, (n, 3)."""
        return np.concatenate([surface.mesh.vertices for surface in self.surfaces])


def build_objects(content: Content, arrangement: Arrangement) -> list[SceneObject]:
    """Every object of the gallery, in the room's frame; an object's position in the list plus 1 is its instance id."""
    objects = list(_structure(content, arrangement))
    for picture, place in zip(content.pictures, arrangement.picture_places, strict=True):
        objects.append(_hung_picture(picture, place, arrangement))
    for solid, place in zip(content.solids, arrangement.solid_places, strict=True):
        objects.extend(_standing_solid(solid, place))
    return objects


def lamp_points(arrangement: Arrangement) -> FloatArray:
    """Points just below the lamps, 4 x 2 for each, that together stand for their light, (n, 3)."""
    x, y = (side * np.array(steps) for side, steps in zip(LAMP_SIZE, ((-3, -1, 1, 3), (-2, 2)), strict=False))
    offsets = np.stack(np.meshgrid(x / 8, y / 8, [-LAMP_SIZE[2] - 0.01], indexing="ij"), axis=-1).reshape(-1, 3)
    centres = np.array([(*place, arrangement.size[2]) for place in arrangement.lamps], dtype=np.float64)
    return (centres[:, None] + offsets).reshape(-1, 3)


def wall_frame(wall: int, size: tuple[float, float, float]) -> tuple[FloatArray, FloatArray]:
    """Rotation and origin of a wall's own frame: x to the right for who faces it, y into the wall, z up."""
    rotation = geometry.rotation_z(-wall * np.pi / 2)
    return rotation, rotation @ np.array([0.0, size[1 - wall % 2] / 2, 0.0])


def _painted(mesh: Mesh, material: Material, shift: tuple[float, float] = (0.0, 0.0)) -> Surface:
    uv = (mesh.uv + np.asarray(shift)) / material.repeat
    return Surface(Mesh(mesh.vertices, mesh.normals, uv, mesh.faces), material)


def _structure(content: Content, arrangement: Arrangement) -> Iterator[SceneObject]:
    """Floor, four walls with skirting and cornice, ceiling with lamps."""
    x, y, z = arrangement.size
    shift = arrangement.texture_shift
    identity = np.eye(3)
    floor = geometry.patch((-x / 2, y / 2, 0), (x, 0, 0), (0, -y, 0), LIGHT_CELL)
    yield SceneObject("floor", "floor", "structure", None, identity, [_painted(floor, content.floor, shift[0])])
    for wall, material in enumerate(content.walls):
        rotation, origin = wall_frame(wall, arrangement.size)
        length = arrangement.size[wall % 2]
        plane = geometry.patch((-length / 2, 0, z), (length, 0, 0), (0, 0, -z), LIGHT_CELL)
        skirting = geometry.box((length, 0.04, 0.13), LIGHT_CELL)
        cornice = geometry.box((length, 0.12, 0.07), LIGHT_CELL).placed(identity, (0, 0, z - 0.07))
        surfaces = [
            _painted(plane.placed(rotation, origin), material, shift[1 + wall]),
            _painted(skirting.placed(rotation, origin), content.skirting),
            _painted(cornice.placed(rotation, origin), content.ceiling),
        ]
        yield SceneObject(f"wall {wall + 1}", "wall", "structure", None, rotation, surfaces)
    ceiling = geometry.patch((-x / 2, -y / 2, z), (x, 0, 0), (0, y, 0), LIGHT_CELL)
    lamp = geometry.box(LAMP_SIZE, LIGHT_CELL)
    lamps = [Surface(lamp.placed(identity, (*place, z - LAMP_SIZE[2])), None) for place in arrangement.lamps]
    surfaces = [_painted(ceiling, content.ceiling, shift[5]), *lamps]
    yield SceneObject("ceiling", "ceiling", "structure", None, identity, surfaces)


def _hung_picture(picture: Picture, place: tuple[int, float, float], arrangement: Arrangement) -> SceneObject:
    """Photograph, mat and four bars of the frame; the bars stand a little proud of what they hold and overlap it."""
    wall, along, height = place
    rotation, wall_origin = wall_frame(wall, arrangement.size)
    origin = wall_origin + rotation @ np.array([along, 0.0, height])
    width, tall = picture.size
    photograph = geometry.patch((-width / 2, -0.044, tall / 2), (width, 0, 0), (0, 0, -tall), LIGHT_CELL)
    uv = photograph.uv / np.array([width, tall])
    photograph = Mesh(photograph.vertices, photograph.normals, uv, photograph.faces)
    surfaces = [Surface(photograph.placed(rotation, origin), picture)]
    inner = (width + 2 * picture.mat_width, tall + 2 * picture.mat_width)
    if picture.mat_width > 0:
        mat = geometry.patch((-inner[0] / 2, -0.04, inner[1] / 2), (inner[0], 0, 0), (0, 0, -inner[1]), LIGHT_CELL)
        surfaces.append(_painted(mat.placed(rotation, origin), MAT))
    bar = picture.frame_width
    outer = picture.outer_size
    upright = geometry.box((bar + 0.02, 0.1, outer[1]), LIGHT_CELL)
    level = geometry.box((inner[0], 0.1, bar + 0.02), LIGHT_CELL)
    for side in (-1, 1):
        middle = side * (inner[0] + bar - 0.02) / 2
        bars = [
            upright.placed(np.eye(3), (middle, 0, -outer[1] / 2)),
            level.placed(np.eye(3), (0, 0, side * (inner[1] + bar - 0.02) / 2 - (bar + 0.02) / 2)),
        ]
        surfaces.extend(_painted(mesh.placed(rotation, origin), picture.frame) for mesh in bars)
    entry = photograph_named(picture.photograph)
    return SceneObject(entry.name, entry.name, "photograph", entry.phrase, rotation, surfaces)


def _standing_solid(solid: Solid, place: tuple[float, float, float]) -> Iterator[SceneObject]:
    """A pedestal and the solid on it."""
    x, y, turn = place
    rotation = geometry.rotation_z(turn)
    side, height = solid.pedestal_size
    plinth = geometry.box((side, side, height - 0.04), 0.1)
    slab = geometry.box((side + 0.05, side + 0.05, 0.04), 0.1).placed(np.eye(3), (0, 0, height - 0.04))
    pedestal = [_painted(mesh.placed(rotation, (x, y, 0)), solid.pedestal) for mesh in (plinth, slab)]
    yield SceneObject(f"pedestal of {solid.name}", "pedestal", "pedestal", None, rotation, pedestal)
    mesh = solid_mesh(solid.shape, solid.radius).placed(rotation, (x, y, height))
    yield SceneObject(solid.name, solid.shape, "solid", None, rotation, [_painted(mesh, solid.material)])


def solid_mesh(shape: str, radius: float) -> Mesh:
    """A solid of the catalogue, standing on z = 0 around the z axis, about two radii wide."""
    return SOLID_MESHES[shape](radius)


def _sphere(radius: float) -> Mesh:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 25)
    return geometry.revolve([radius * np.stack([np.cos(angle), 1 + np.sin(angle)], axis=-1)])


def _cylinder(radius: float) -> Mesh:
    side = np.stack([np.full(10, 0.8 * radius), np.linspace(0, 2.3 * radius, 10)], axis=-1)
    return geometry.revolve([_disc(0.8 * radius, 0.0), side, _disc(0.8 * radius, 2.3 * radius)[::-1]])


def _cone(radius: float) -> Mesh:
    side = np.stack([np.linspace(radius, 0, 14), np.linspace(0, 2.4 * radius, 14)], axis=-1)
    return geometry.revolve([_disc(radius, 0.0), side])


def _torus(radius: float) -> Mesh:
    """A ring that stands on its rim."""
    angle = np.linspace(-np.pi, np.pi, 21)
    tube = 0.33 * radius
    profile = np.stack([radius - tube + tube * np.cos(angle), tube * np.sin(angle)], axis=-1)
    upright = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    return geometry.revolve([profile], segments=48).placed(upright, (0, 0, radius))


def _vase(radius: float) -> Mesh:
    height = np.linspace(0, 1, 24)
    width = 0.62 + 0.36 * np.sin(2 * np.pi * height**0.8 - 0.55) * (1 - 0.35 * height)
    side = np.stack([radius * width, 2.5 * radius * height], axis=-1)
    return geometry.revolve([_disc(side[0, 0], 0.0), side, _disc(side[-1, 0], 2.5 * radius)[::-1]])


def _ziggurat(radius: float) -> Mesh:
    """Three boxes, each smaller than the one below."""
    step = 0.65 * radius
    boxes = [geometry.box((side * radius, side * radius, step), 0.08) for side in (1.9, 1.3, 0.7)]
    return geometry.merge([mesh.placed(np.eye(3), (0, 0, k * step)) for k, mesh in enumerate(boxes)])


def _box(radius: float) -> Mesh:
    return geometry.box((1.6 * radius, 1.6 * radius, 1.7 * radius), 0.08)


def _disc(radius: float, z: float) -> FloatArray:
    """Profile of a horizontal disc from its middle outward, (3, 2)."""
    return np.array([[0.0, z], [radius / 2, z], [radius, z]])


MAT = Material("plaster", ((0.90, 0.89, 0.86), (0.98, 0.97, 0.95)), seed=0, repeat=2.0)

SOLID_MESHES = {
    "box": _box,
    "sphere": _sphere,
    "cylinder": _cylinder,
    "cone": _cone,
    "torus": _torus,
    "vase": _vase,
    "ziggurat": _ziggurat,
}
