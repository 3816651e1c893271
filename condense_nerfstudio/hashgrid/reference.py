"""The hash grid in plain PyTorch: what the other backends are tested against, and what runs on other devices.

It works in float32 and float64, differentiates with respect to the table and to the positions, and twice.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from condense_nerfstudio.hashgrid.geometry import Level

UINT32_MASK = 0xFFFFFFFF


def encode(
    params: Float[Tensor, " num_params"], positions: Float[Tensor, "*bs 3"], levels: Sequence[Level], features: int
) -> Float[Tensor, "*bs output_dim"]:
    """Trilinear interpolation of every level's table at the positions.

    Args:
        params: The tables, one level after another, features innermost.
        positions: Points in the unit cube. Points outside wrap around as in tiny-cuda-nn.
        levels: The grid's levels.
        features: Features a level.
    """
    encoded = []
    for level in levels:
        table = params[level.offset * features : (level.offset + level.entries) * features].view(-1, features)
        # addcmul is a fused multiply-add, as in tiny-cuda-nn: rounding the product first can move a point by a cell.
        half, scale = positions.new_tensor(0.5), positions.new_tensor(level.scale)
        scaled = torch.addcmul(half, positions, scale)
        cell = scaled.detach().floor()
        fraction = (scaled - cell)[..., None, :]
        corner_offsets = _corner_offsets(positions.device)
        rows = table_rows(_as_uint32(cell)[..., None, :] + corner_offsets, level)
        weights = torch.where(corner_offsets.bool(), fraction, 1 - fraction)
        weights = weights[..., 0] * weights[..., 1] * weights[..., 2]
        encoded.append((weights[..., None] * table[rows]).sum(dim=-2))
    return torch.cat(encoded, dim=-1)


def table_rows(vertices: Int[Tensor, "*bs 3"], level: Level) -> Int[Tensor, "*bs"]:
    """The rows of the level's table that hold the grid vertices, in the uint32 arithmetic of tiny-cuda-nn."""
    x, y, z = ((vertices[..., axis] * level.multipliers[axis]) & UINT32_MASK for axis in range(3))
    rows = x ^ y ^ z if level.hashed else (x + y + z) & UINT32_MASK
    return rows % level.entries


def _as_uint32(cell: Float[Tensor, "*bs 3"]) -> Int[Tensor, "*bs 3"]:
    """Converts as C converts a float to int and that to uint32; what int32 cannot hold (NaN too) becomes 0."""
    representable = (cell >= -(2.0**31)) & (cell < 2.0**31)
    return torch.where(representable, cell, 0).long() & UINT32_MASK


def _corner_offsets(device: torch.device) -> Int[Tensor, "8 3"]:
    """The corners of the unit cell, x changing fastest."""
    corner = torch.arange(8, device=device)[:, None]
    return (corner >> torch.arange(3, device=device)) & 1
