"""A small picture of a condensed scene, drawn from nothing but its key points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from PIL import Image, ImageDraw, ImageFilter

from condense_nerfstudio.keypoints.alignment import extent
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene, KeyPoints

SIZE = (320, 240)
"""Width and height in pixels, unless told otherwise."""
GROUND = (23, 25, 31)
MARKS = ((255, 214, 10), (64, 200, 255), (255, 105, 180), (124, 252, 90))
"""Colours of the rings around key points that answer: the first's, the second's and so on."""

_AZIMUTHS, _ELEVATIONS = np.radians(np.arange(0.0, 360.0, 15.0)), np.radians([10.0, 25.0, 40.0])
"""Directions of the views that are tried."""
_DISTANCE = 1.3
"""Of the eye from the middle of the scene, in sizes of the scene."""
_NEAREST = 0.1
"""Depth, in sizes of the scene, up to which nothing is drawn."""
_EDGE_ON = 0.1
"""Cosine between normal and view from which a key point is drawn: a room is seen through the backs of its walls."""
_FRAMED = (0.02, 0.98)
"""Quantiles of the key points that fill the picture: a stray one far away does not shrink all others."""
_NEAR = 0.6
"""Share of the key points that fill the picture where some answer: those nearest to them."""
_MARGIN = 0.06
"""Of the picture, left free at each edge."""
_SOFT, _SHARP = ((2.2, 0.4), (1.0, 0.8)), (0.5, 1.0)
"""Radius of a disc as a share of its key point's scale, and how much of its colour it has. All are drawn several times:
the soft discs are blurred, and fill gaps; the sharp one is small, so that neighbours leave something of each other."""
_LARGEST = 0.04
"""Radius of a disc, as a share of the picture's width."""
_SMALLEST = 0.004
_BLUR = 0.01
"""Of the soft discs, as a share of the picture's width."""
_FINE = 3
"""Pixels drawn for one that is kept, along each side: smooth edges."""
_TURNS = np.linspace(0.0, 2.0 * np.pi, 14, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1)
_RING, _STROKE = 0.05, 0.008
"""Radius and width of the ring, as shares of the picture's width."""


@dataclass(frozen=True)
class View:
    """A perspective view of a scene from outside, its middle straight ahead."""

    centre: Float[np.ndarray, " 3"]
    """Of the scene, in the data set's world frame."""
    size: float
    """Of the scene, in the same units."""
    axes: Float[np.ndarray, "3 3"]
    """Rows: right, down, and towards the eye."""
    focal: float = 1.0
    """In pixels."""
    shift: tuple[float, float] = (0.0, 0.0)
    """The pixel straight ahead."""

    @property
    def eye(self) -> Float[np.ndarray, " 3"]:
        """In the data set's world frame."""
        return self.centre + _DISTANCE * self.size * self.axes[2]

    def depths(self, positions: Float[np.ndarray, "*bs n 3"]) -> Float[np.ndarray, "*bs n"]:
        """How far before the eye positions of the world are, in sizes of the scene."""
        return (self.eye - positions) @ self.axes[2] / self.size

    def pixels(self, positions: Float[np.ndarray, "*bs n 3"]) -> Float[np.ndarray, "*bs n 2"]:
        """Where positions of the world are seen."""
        across = (positions - self.eye) @ self.axes[:2].T / self.size
        return self.focal * across / self.depths(positions).clip(_NEAREST)[..., None] + np.array(self.shift)

    def shows(self, points: KeyPoints) -> Bool[np.ndarray, " n"]:
        """Which key points are before the eye and face it."""
        ways = self.eye - points.positions
        cosines = (ways * points.normals).sum(axis=1) / np.linalg.norm(ways, axis=1).clip(1e-12)
        return (cosines > _EDGE_ON) & (self.depths(points.positions) > _NEAREST)


def portrait(scene: CondensedScene, answers: Sequence[int] = (), size: tuple[int, int] = SIZE) -> Image.Image:
    """Draws a scene's key points as discs of their colour that lie in the surface; the same for the same input.

    Args:
        scene: what to draw.
        answers: key points that get a ring, and which the view faces.
        size: (width, height) in pixels.
    """
    large = (_FINE * size[0], _FINE * size[1])
    view, points, marked = choose_view(scene, answers, large), scene.points, np.array(answers, dtype=np.intp)
    shown = np.setdiff1d(np.flatnonzero(view.shows(points)), marked)
    order = np.concatenate([shown[np.argsort(-view.depths(points.positions[shown]), kind="stable")], marked])
    image = Image.new("RGB", large, GROUND)
    for reach, bright in _SOFT:
        _discs(image, points, view, order, reach, bright)
    image = image.filter(ImageFilter.GaussianBlur(_BLUR * image.width))
    _discs(image, points, view, order, *_SHARP)
    for number, (x, y) in enumerate(view.pixels(points.positions[marked]).tolist()):
        _ring(image, x, y, MARKS[number % len(MARKS)])
    return image.resize(size, Image.Resampling.BOX)


def choose_view(scene: CondensedScene, answers: Sequence[int] = (), size: tuple[int, int] = SIZE) -> View:
    """The view, from a little above, that most key points face, and above all those that answer.

    Args:
        scene: what to look at; its NeRF's frame tells where up is.
        answers: key points that should be faced.
        size: (width, height) of the picture.
    """
    positions, normals = scene.points.positions.astype(np.float64), scene.points.normals
    up = scene.world_to_nerf[2, :3].astype(np.float64)
    tried = [_axes(up / np.linalg.norm(up), azimuth, elevation) for elevation in _ELEVATIONS for azimuth in _AZIMUTHS]
    cosines = normals @ np.stack([axes[2] for axes in tried]).T
    worth = cosines.clip(0.0).mean(axis=0)
    if answers:
        worth = worth + cosines[list(answers)].min(axis=0)
    low, high = np.quantile(positions, _FRAMED, axis=0)
    size_of_scene = max(extent(positions), float(scene.points.scales.max()))  # points at one place have an extent of 0
    view = View((low + high) / 2.0, size_of_scene, tried[int(worth.argmax())])
    return _framed(view, scene.points, answers, size)


def _axes(up: Float[np.ndarray, " 3"], azimuth: float, elevation: float) -> Float[np.ndarray, "3 3"]:
    """Of a view; see :class:`View`."""
    aside = np.cross(up, np.eye(3)[np.abs(up).argmin()])
    aside /= np.linalg.norm(aside)
    level = np.cos(azimuth) * aside + np.sin(azimuth) * np.cross(up, aside)
    eye = np.cos(elevation) * level + np.sin(elevation) * up
    right = np.cross(up, level)
    return np.stack([right, np.cross(right, eye), eye])


def _framed(view: View, points: KeyPoints, answers: Sequence[int], size: tuple[int, int]) -> View:
    """The view in which the key points that it shows, and the answers, fill a picture of (width, height) pixels."""
    shown = view.shows(points)
    shown = np.flatnonzero(shown if shown.any() else ~shown)
    if answers:
        gaps = points.positions[shown, None] - points.positions[None, list(answers)]
        near = np.linalg.norm(gaps, axis=2).min(axis=1).argsort(kind="stable")
        shown = shown[near[: max(1, round(_NEAR * len(near)))]]
    pixels = view.pixels(points.positions)
    edges = np.concatenate([np.quantile(pixels[shown], _FRAMED, axis=0), pixels[list(answers)]])
    low, high = edges.min(axis=0), edges.max(axis=0)
    focal = float(((1.0 - 2.0 * _MARGIN) * np.array(size) / (high - low).clip(1e-3)).min())  # one point has no extent
    x, y = (np.array(size) / 2.0 - focal * (low + high) / 2.0).tolist()
    return View(view.centre, view.size, view.axes, focal, (x, y))


def _discs(
    image: Image.Image, points: KeyPoints, view: View, order: Int[np.ndarray, " n"], reach: float, bright: float
) -> None:
    """Draws key points one over the other.

    Args:
        image: drawn upon.
        points: of the scene.
        view: of the image.
        order: indices, the farthest first.
        reach: radius of a disc, as a share of the point's scale.
        bright: share of its colour, the rest being the ground's.
    """
    positions = points.positions[order].astype(np.float64)
    pixel = view.size * view.depths(positions).clip(_NEAREST) / view.focal
    least, most = (share * image.width * pixel for share in (_SMALLEST, _LARGEST))
    radii = reach * points.scales[order].clip(least, most)
    circles = radii[:, None, None] * (_CIRCLE @ surface_axes(points.normals[order]))
    outlines = view.pixels(positions[:, None] + circles).reshape(len(order), -1)
    colors = np.round(bright * points.colors[order] + (1.0 - bright) * np.array(GROUND)).astype(int)
    draw = ImageDraw.Draw(image)
    for outline, color in zip(outlines.tolist(), colors.tolist(), strict=True):
        draw.polygon(outline, fill=tuple(color))


def surface_axes(normals: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2 3"]:
    """Two unit vectors across each normal."""
    first = np.cross(normals, np.eye(3)[np.abs(normals).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(normals, first)], axis=1)


def _ring(image: Image.Image, x: float, y: float, color: tuple[int, int, int]) -> None:
    """Draws a ring with dark edges around a pixel."""
    draw, stroke = ImageDraw.Draw(image), max(1, round(_STROKE * image.width))
    for grown, width, ink in ((stroke // 2, 2 * stroke, GROUND), (0, stroke, color)):
        reach = _RING * image.width + grown
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=ink, width=width)
