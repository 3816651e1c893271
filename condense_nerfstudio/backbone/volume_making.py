"""Making a scene volume from a trained NeRF, whatever nerfstudio method trained it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.cameras.rays import Frustums, RayBundle, RaySamples
from nerfstudio.field_components.field_heads import FieldHeadNames
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.backbone.marching import march
from condense_nerfstudio.backbone.settings import VolumeConfig
from condense_nerfstudio.backbone.volume import SceneVolume, VolumeCard, flat_cells
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.surface import LEAST_ACCUMULATION

_CHUNK = 1 << 17
"""Points at which the NeRF is asked at once."""
_RAY_CHUNK = 8192
_BOX_RAYS = 16384
_BOX_MARGIN = 1.04
_COARSEST = 64
"""Resolution at which the whole box is looked at; finer grids only where that shows a surface."""
_SUBCELLS = torch.tensor([[x, y, z] for x in (0.25, 0.75) for y in (0.25, 0.75) for z in (0.25, 0.75)])
"""Where in a cell the NeRF is asked."""
_DIVERGED = "The scene's density is not a number everywhere: its training has diverged. Train it again."
_THICKEST = 1000.0
"""Largest optical thickness that is kept; nothing is seen through a hundredth of it."""


@runtime_checkable
class Renders(Protocol):
    """What is asked of a nerfstudio model; it must have a `field`, too, or be one that :class:`Fills` grids."""

    def __call__(self, ray_bundle: RayBundle) -> Any:
        """Renders rays: "depth" and "accumulation", among others."""
        ...


@dataclass(frozen=True)
class Voxels:
    """A filled grid."""

    origin: Float[Tensor, " 3"]
    """Its lowest corner."""
    side: float
    """Of a cell."""
    thickness: Float[Tensor, "r r r"]
    """Optical thickness of cells: density times the side of a cell."""
    colors: Float[Tensor, "r r r 3"]


@runtime_checkable
class Fills(Protocol):
    """A model that has no field to ask at positions, but fills any grid itself."""

    def voxels(self, origin: Float[Tensor, " 3"], side: float, resolution: int) -> Voxels:
        """Fills a grid, given its lowest corner, the side of a cell and the cells a side."""
        ...


@torch.no_grad()
def make_volume(
    model: Renders,
    cameras: Cameras,
    card: VolumeCard,
    config: VolumeConfig,
    progress: Callable[[float], None] = lambda share: None,
) -> SceneVolume:
    """Asks a NeRF for density and colour on a grid, and keeps the cells that its cameras see.

    The box is a cube around the surface that the cameras see, without the farthest of it where a scene has no end.

    Args:
        model: in evaluation mode; its field answers density and colour at positions.
        cameras: the training cameras.
        card: says where the model comes from.
        config: how fine, and what counts as empty.
        progress: told the share that is done.

    Raises:
        UserError: the field's density is not a number, or the volume is empty.
    """
    origin, side = _box(model, cameras, config.resolution)
    grid = _Grid(origin, side * config.resolution)
    rays = random_rays(cameras, config.rays, seed=1)
    if isinstance(model, Fills):
        found = _filled(model, grid, rays, config)
    else:
        found = _asked(model, grid, rays, config, progress)
    progress(1.0)
    return SceneVolume(
        resolution=config.resolution,
        origin=origin.cpu(),
        side=side,
        cells=found.cells.to(torch.uint8).cpu(),
        thickness=found.thickness.half().cpu(),
        colors=(found.colors * 255.0).round().to(torch.uint8).cpu(),
        card=card,
    )


def radiance(
    model: Renders, positions: Float[Tensor, "n 3"], directions: Float[Tensor, "n 3"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
    """Density and colour at positions in nerfstudio's frame, seen along directions of length one.

    Raises:
        UserError: the model has no field that answers this, or its density is not a number.
    """
    field = getattr(model, "field", None)
    if field is None:
        raise UserError(f"{type(model).__name__} has no field of density and colour: use a NeRF such as condense-lite.")
    zeros = positions.new_zeros(len(positions), 1, 1)
    frustums = Frustums(positions[:, None], directions[:, None], zeros, zeros, zeros)
    samples = RaySamples(frustums, camera_indices=zeros.long())
    answer = field(samples)
    density, rgb = (answer[FieldHeadNames.DENSITY], answer[FieldHeadNames.RGB]) if isinstance(answer, dict) else answer
    if not density.isfinite().all():
        raise UserError(_DIVERGED)
    return density.reshape(-1).float(), rgb.reshape(-1, 3).float().clamp(0.0, 1.0)


def random_rays(cameras: Cameras, count: int, seed: int) -> RayBundle:
    """Rays through random pixels of random cameras.

    Args:
        cameras: where from.
        count: how many.
        seed: of the choice.
    """
    random = np.random.default_rng(seed)
    chosen = torch.from_numpy(random.integers(0, len(cameras), count)).to(cameras.device)
    sizes = torch.stack([cameras.height[chosen, 0], cameras.width[chosen, 0]], dim=1)
    coords = torch.from_numpy(random.random((count, 2), dtype=np.float32)).to(cameras.device) * sizes
    return cameras.generate_rays(chosen[:, None], coords=coords)


def bulk(points: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " 3"], float]:
    """Lowest corner and side of a cube around a surface's points, without the farthest of them."""
    # What lies farther out than twice the reach of the middle four fifths is the far distance.
    low, near, far, high = torch.quantile(points, points.new_tensor([0.01, 0.1, 0.9, 0.99]), dim=0)
    low, high = torch.maximum(low, 3 * near - 2 * far), torch.minimum(high, 3 * far - 2 * near)
    extent = float((high - low).max()) * _BOX_MARGIN
    return (low + high) / 2 - extent / 2, extent


def _box(model: Renders, cameras: Cameras, resolution: int) -> tuple[Float[Tensor, " 3"], float]:
    """Lowest corner, and side of a cell."""
    rays = random_rays(cameras, _BOX_RAYS, seed=0)
    points = []
    for start in range(0, len(rays), _RAY_CHUNK):
        part = rays[start : start + _RAY_CHUNK]
        outputs = model(part)
        if not outputs["accumulation"].isfinite().all():
            raise UserError(_DIVERGED)
        solid = outputs["accumulation"][:, 0] > LEAST_ACCUMULATION
        points.append((part.origins + part.directions * outputs["depth"])[solid])
    met = torch.cat(points)
    if not len(met):
        raise UserError("No camera of the scene meets a surface: its density is empty. Train the NeRF for longer.")
    origin, extent = bulk(met)
    return origin, extent / resolution


@dataclass(frozen=True)
class _Grid:
    """Where the box lies; grids of any resolution fit it."""

    origin: Float[Tensor, " 3"]
    extent: float

    def subcells(self, cells: Int[Tensor, "n 3"], resolution: int) -> Float[Tensor, "m 3"]:
        """Eight positions in each cell."""
        inside = cells[:, None].float() + _SUBCELLS.to(cells.device)
        return (self.origin + inside * (self.extent / resolution)).reshape(-1, 3)


@dataclass(frozen=True)
class _Meeting:
    """Where rays meet what a grid holds."""

    cells: Bool[Tensor, "r r r"]
    directions: Float[Tensor, "r r r 3"]
    """Sum of the directions of the rays that meet a cell, by weight."""


@dataclass(frozen=True)
class _Found:
    """The cells that are kept."""

    cells: Int[Tensor, "n 3"]
    thickness: Float[Tensor, " n"]
    colors: Float[Tensor, "n 3"]


def _filled(model: Fills, grid: _Grid, rays: RayBundle, config: VolumeConfig) -> _Found:
    """Cells that rays meet, of a grid that the model fills."""
    voxels = model.voxels(grid.origin, grid.extent / config.resolution, config.resolution)
    met = _meeting(voxels.thickness, rays, grid, config.least_weight).cells
    return _Found(met.nonzero(), voxels.thickness[met].clamp(max=_THICKEST), voxels.colors[met])


def _asked(
    model: Renders, grid: _Grid, rays: RayBundle, config: VolumeConfig, progress: Callable[[float], None]
) -> _Found:
    """Cells that rays meet, of a field that is asked ever more finely."""
    thickness = torch.zeros(1, 1, 1, device=grid.origin.device)
    wanted = torch.ones_like(thickness, dtype=torch.bool)
    resolution, met = min(_COARSEST, config.resolution), None
    while met is None or resolution < config.resolution:
        if met is not None:
            resolution *= 2
            wanted = _grown(met.cells)
        share = 0.9 * resolution / config.resolution
        thickness = _refined(model, grid, thickness, wanted, resolution)
        progress(share / 2)
        met = _meeting(thickness, rays, grid, config.least_weight)
        progress(share)
    cells = met.cells.nonzero()
    colors = _colors(model, grid, cells, functional.normalize(met.directions[met.cells], dim=-1), resolution)
    return _Found(cells, thickness[met.cells], colors)


def _refined(
    model: Renders, grid: _Grid, coarse: Float[Tensor, "c c c"], wanted: Bool[Tensor, "c c c"], resolution: int
) -> Float[Tensor, "r r r"]:
    """Mean density times the side of a cell, on a finer grid: asked for in wanted cells, taken over in others."""
    factor = resolution // coarse.shape[0]

    def finer(values: Tensor) -> Tensor:
        for axis in range(3):
            values = values.repeat_interleave(factor, dim=axis)
        return values

    thickness = finer(coarse / factor)
    cells = finer(wanted).nonzero()
    per_chunk, side = _CHUNK // len(_SUBCELLS), grid.extent / resolution
    ahead = grid.origin.new_tensor([[0.0, 0.0, 1.0]])
    for start in range(0, len(cells), per_chunk):
        part = cells[start : start + per_chunk]
        positions = grid.subcells(part, resolution)
        density, _ = radiance(model, positions, ahead.expand(len(positions), -1))
        found = (density.view(-1, len(_SUBCELLS)).mean(dim=1) * side).clamp(max=_THICKEST)
        thickness[part[:, 0], part[:, 1], part[:, 2]] = found
    return thickness


def _meeting(thickness: Float[Tensor, "r r r"], rays: RayBundle, grid: _Grid, least_weight: float) -> _Meeting:
    """Cells in which rays have their median, or much of their weight, and the directions from which they come."""
    resolution = thickness.shape[0]
    side = grid.extent / resolution
    marked = torch.zeros(resolution**3, dtype=torch.bool, device=thickness.device)
    total = thickness.new_zeros(resolution**3, 3)
    for start in range(0, len(rays), _RAY_CHUNK):
        part = rays[start : start + _RAY_CHUNK]
        marched = march(thickness, (part.origins - grid.origin) / side, part.directions)
        opacity = marched.weights.sum(dim=1, keepdim=True)
        median = (marched.weights.cumsum(dim=1) < opacity / 2).sum(dim=1, keepdim=True)
        kept = marched.weights >= least_weight
        kept.scatter_(1, median.clamp(max=kept.shape[1] - 1), opacity > LEAST_ACCUMULATION)
        flat = flat_cells(marched.positions[kept].long().clamp(0, resolution - 1), resolution)
        marked[flat] = True
        directions = part.directions[:, None].expand(-1, kept.shape[1], -1)[kept]
        total.index_add_(0, flat, marched.weights[kept][:, None] * directions)
    shape = (resolution, resolution, resolution)
    return _Meeting(marked.view(shape), total.view(*shape, 3))


def _grown(cells: Bool[Tensor, "r r r"]) -> Bool[Tensor, "r r r"]:
    """Cells, and those next to them."""
    return functional.max_pool3d(cells[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0


def _colors(
    model: Renders, grid: _Grid, cells: Int[Tensor, "n 3"], directions: Float[Tensor, "n 3"], resolution: int
) -> Float[Tensor, "n 3"]:
    """Mean colour of cells, weighted with density, seen along directions."""
    colors, per_chunk = [], _CHUNK // len(_SUBCELLS)
    for start in range(0, len(cells), per_chunk):
        part = slice(start, start + per_chunk)
        positions = grid.subcells(cells[part], resolution)
        density, rgb = radiance(model, positions, directions[part].repeat_interleave(len(_SUBCELLS), dim=0))
        weights = density.view(-1, len(_SUBCELLS), 1) + 1e-6
        colors.append((weights * rgb.view(-1, len(_SUBCELLS), 3)).sum(dim=1) / weights.sum(dim=1))
    return torch.cat(colors) if colors else directions.new_zeros(0, 3)
