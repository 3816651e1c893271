"""Gaussians of splatting as matter on a grid, so that their scenes become volumes as NeRFs do; needs no rasteriser."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.rays import RayBundle
from torch import Tensor

from condense_nerfstudio.backbone.marching import march
from condense_nerfstudio.backbone.volume import flat_cells
from condense_nerfstudio.backbone.volume_making import Voxels, bulk
from condense_nerfstudio.errors import UserError

_LEAST_OPACITY, _MOST_OPACITY = 1 / 255, 0.999
"""What gsplat draws: fainter Gaussians are left out, and no pixel of one is more opaque."""
_RESOLUTION = 256
"""Cells a side of the grid that rays are rendered with."""
_BULK_POINTS = 1 << 14
_POINTS_PER_CELL = 4
_FEWEST_POINTS, _MOST_POINTS = 32, 1 << 15
"""That stand for a Gaussian: powers of two, since so many of Sobol's points are even. 16 would hold too much of an
opaque one's matter, by a sixth; 32 are right within a twentieth."""
_CHUNK = 1 << 20
"""Points that are put into cells at once."""
_RAY_CHUNK = 1024


@dataclass(frozen=True)
class Gaussians:
    """The Gaussians of a splatting scene that can be seen, in nerfstudio's frame."""

    means: Float[Tensor, "n 3"]
    scales: Float[Tensor, "n 3"]
    """Standard deviations, the largest first."""
    axes: Float[Tensor, "n 3 3"]
    """Their directions, in columns."""
    opacities: Float[Tensor, " n"]
    colors: Float[Tensor, "n 3"]
    """Mean over all directions: the constant term of the spherical harmonics."""

    def __getitem__(self, chosen: Int[Tensor, " m"]) -> Gaussians:
        return Gaussians(*(values[chosen] for values in vars(self).values()))

    def spread(self, normal: Float[Tensor, "... k 3"]) -> Float[Tensor, "n k 3"]:
        """Normally distributed numbers, in standard deviations along the axes, as positions."""
        return self.means[:, None] + (normal * self.scales[:, None]) @ self.axes.transpose(1, 2)


def read_gaussians(params: Mapping[str, Tensor]) -> Gaussians:
    """Reads what SplatfactoModel keeps as `gauss_params`.

    Args:
        params: means, scales (logarithms), quats (w first, of any length), opacities (logits), features_dc and
            features_rest.

    Raises:
        UserError: there is no Gaussian that can be seen, one is not a number, or they are of another kind of splatting.
    """
    missing = {"means", "scales", "quats", "opacities", "features_dc", "features_rest"} - params.keys()
    if missing:
        raise UserError(f"The scene's Gaussians have no {', '.join(sorted(missing))}: train it with splatfacto.")
    if not all(values.isfinite().all() for values in params.values()):
        raise UserError("The scene's Gaussians are not numbers everywhere: its training has diverged. Train it again.")
    opacities = params["opacities"].detach().float().sigmoid()[:, 0]
    seen = opacities >= _LEAST_OPACITY
    if not seen.any():
        raise UserError("The scene has no Gaussian that can be seen: train it for longer.")
    means, scales, quats, constant = (
        params[name].detach()[seen].float() for name in ("means", "scales", "quats", "features_dc")
    )
    scales, order = scales.exp().sort(dim=1, descending=True)
    # Without higher terms splatfacto keeps logits of colours.
    with_harmonics = params["features_rest"].shape[1] > 0
    return Gaussians(
        means=means,
        scales=scales,
        axes=_rotations(quats).gather(2, order[:, None].expand(-1, 3, -1)),
        opacities=opacities[seen].clamp(max=_MOST_OPACITY),
        colors=(0.5 + constant / math.sqrt(4 * math.pi) if with_harmonics else constant.sigmoid()).clamp(0.0, 1.0),
    )


class GaussianScene:
    """A splatting scene in place of a NeRF: it renders rays and fills grids.

    A splat of opacity o has alpha o exp(-r^2 / 2) at r standard deviations from its middle, the same from everywhere
    (Kerbl et al., SIGGRAPH 2023, eq. 3). Its matter is what looks like this along its thinnest axis: of optical
    thickness t(r) = -log(1 - o exp(-r^2 / 2)), with r over the two larger axes, and spread normally along the thinnest,
    about which t says nothing. That is a total of 2 pi s1 s2 Li2(o), Li2 the dilogarithm and s1, s2 the larger standard
    deviations. (A Gaussian density with alpha o in the middle has -log(1 - o) in place of Li2(o), which grows without
    bound as splats get opaque: it makes them larger than they are drawn.)

    Each Gaussian is put into cells as points of its own distribution, whose density in the plane is
    exp(-r^2 / 2) / (2 pi s1 s2), so that one of n points carries 2 pi s1 s2 t(r) exp(r^2 / 2) / n. A cell's thickness
    is what lies in it, by the square of its side.

    Args:
        gaussians: of the scene.
    """

    def __init__(self, gaussians: Gaussians) -> None:
        self._gaussians = gaussians
        origin, extent = bulk(_points_by_opacity(gaussians))
        self._voxels = self.voxels(origin, extent / _RESOLUTION, _RESOLUTION)

    @property
    def device(self) -> torch.device:
        return self._gaussians.means.device

    def voxels(self, origin: Float[Tensor, " 3"], side: float, resolution: int) -> Voxels:
        """Optical thickness and mean colour of cells.

        Args:
            origin: the grid's lowest corner.
            side: of a cell.
            resolution: cells a side.
        """
        total = origin.new_zeros(resolution**3, 4)
        for part, normal in _by_size(self._gaussians, side):
            cells = ((part.spread(normal) - origin) / side).floor().long()
            inside = ((cells >= 0) & (cells < resolution)).all(dim=2)
            falloff = torch.exp(-0.5 * normal[:, :2].square().sum(dim=1))
            thickness = -torch.log1p(-part.opacities[:, None] * falloff) / falloff
            mass = thickness * (2 * math.pi / len(normal) / side**2 * part.scales[:, :2].prod(dim=1, keepdim=True))
            content = torch.cat([torch.ones_like(part.colors[:, :1]), part.colors], dim=1)[:, None] * mass[..., None]
            total.index_add_(0, flat_cells(cells[inside], resolution), content[inside])
        filled = total.view(resolution, resolution, resolution, 4)
        return Voxels(origin, side, filled[..., 0].contiguous(), filled[..., 1:] / filled[..., :1].clamp(min=1e-12))

    def __call__(self, ray_bundle: RayBundle) -> dict[str, Tensor]:
        """Renders rays through the grid; see :func:`render`."""
        return render(self._voxels, ray_bundle)


@torch.no_grad()
def render(voxels: Voxels, rays: RayBundle) -> dict[str, Tensor]:
    """What rays of shape (rays,) see in a grid.

    Returns:
        "depth" (the median's, along the ray), "accumulation", both of shape (rays, 1), and "rgb" (rays, 3) of what
            they meet.
    """
    parts = [
        _rendered(voxels, rays.origins[i : i + _RAY_CHUNK], rays.directions[i : i + _RAY_CHUNK])
        for i in range(0, len(rays), _RAY_CHUNK)
    ]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _rendered(
    voxels: Voxels, origins: Float[Tensor, "rays 3"], directions: Float[Tensor, "rays 3"]
) -> dict[str, Tensor]:
    starts = (origins - voxels.origin) / voxels.side
    marched = march(voxels.thickness, starts, directions)
    opacity = marched.weights.sum(dim=1, keepdim=True)
    median = (marched.weights.cumsum(dim=1) < opacity / 2).sum(dim=1).clamp(max=marched.weights.shape[1] - 1)
    met = marched.positions[torch.arange(len(median), device=median.device), median]
    resolution = len(voxels.thickness)
    cells = flat_cells(marched.positions.long().clamp_(0, resolution - 1), resolution)
    colors = (marched.weights[..., None] * voxels.colors.view(-1, 3)[cells]).sum(dim=1)
    return {
        "depth": ((met - starts) * directions).sum(dim=1, keepdim=True) * voxels.side,
        "accumulation": opacity,
        "rgb": colors / opacity.clamp(min=1e-6),
    }


def _rotations(quats: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices of quaternions: v + 2 w (q x v) + 2 q x (q x v) of the three axes."""
    unit = torch.nn.functional.normalize(quats, dim=1)
    axes = torch.eye(3, device=quats.device).expand(len(quats), 3, 3)  # an axis a row
    w, q = unit[:, None, :1], unit[:, None, 1:].expand(-1, 3, -1)
    crossed = torch.linalg.cross(q, axes)
    return (axes + 2 * w * crossed + 2 * torch.linalg.cross(q, crossed)).transpose(1, 2)


def _normal(count: int, device: torch.device) -> Float[Tensor, "{count} 3"]:
    """Sobol's first points, in the middles of their strata, as normally distributed ones."""
    uniform = torch.quasirandom.SobolEngine(3).draw(count, dtype=torch.float64) + 0.5 / count
    return torch.special.ndtri(uniform).float().to(device)


def _points_by_opacity(gaussians: Gaussians) -> Float[Tensor, "n 3"]:
    """Points of the Gaussians, the more the more opaque one is."""
    share = gaussians.opacities.double().cumsum(0)
    levels = (torch.arange(_BULK_POINTS, device=share.device) + 0.5) / _BULK_POINTS * share[-1]
    chosen = torch.searchsorted(share, levels).clamp(max=len(share) - 1)
    return gaussians[chosen].spread(_normal(_BULK_POINTS, share.device)[:, None])[:, 0]


def _by_size(gaussians: Gaussians, side: float) -> Iterator[tuple[Gaussians, Float[Tensor, "k 3"]]]:
    """Gaussians, a chunk at a time, and the points that stand for each: some for every cell that it reaches into."""
    reach = (1 + 2 * gaussians.scales / side).prod(dim=1)
    wanted = (_POINTS_PER_CELL * reach).log2().ceil().exp2().clamp(_FEWEST_POINTS, _MOST_POINTS).long()
    for count in wanted.unique().tolist():
        normal = _normal(count, reach.device)
        for chosen in (wanted == count).nonzero()[:, 0].split(_CHUNK // count):
            yield gaussians[chosen], normal
