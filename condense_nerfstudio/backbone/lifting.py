"""Photographs' features carried into a scene's nodes: rendering, transposed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from condense_nerfstudio.backbone.marching import march
from condense_nerfstudio.backbone.octree import Nodes, corners
from condense_nerfstudio.backbone.volume import SceneVolume
from condense_nerfstudio.scene.correspondence import patch_pixels
from condense_nerfstudio.scene.heads import heaviest_points

_SAMPLES = 4
"""Samples of a ray into which its feature goes: those with the largest weights."""


def lift(
    volume: SceneVolume,
    thickness: Float[Tensor, "r r r"],
    nodes: Nodes,
    cameras: Sequence[Cameras],
    maps: Sequence[Float[Tensor, "_ _ c"]],
) -> Float[Tensor, "nodes c+1"]:
    """The mean feature that photographs see at every node, and how much they see of it.

    A ray leaves the middle of every cell of a feature map; its feature goes to the nodes from which rendering would
    take it, with the weights that rendering would give them.

    Args:
        volume: the scene.
        thickness: of the volume, dense.
        nodes: of the scene.
        cameras: of the photographs, each of shape (1,).
        maps: a feature map of each.

    Returns:
        Mean features, zero where no photograph looks, and the logarithm of one plus the weight of what was seen.
    """
    channels = maps[0].shape[-1]
    total = maps[0].new_zeros(len(nodes.inputs), channels + 1)
    for camera, feature_map in zip(cameras, maps, strict=True):
        indices, weights = cells_to_nodes(
            volume, thickness, nodes, camera, (feature_map.shape[0], feature_map.shape[1])
        )
        features = torch.cat([feature_map.flatten(0, 1), feature_map.new_ones(indices.shape[0], 1)], dim=1)
        spread = weights[..., None] * features[:, None]
        total = total.index_add(0, indices.reshape(-1), spread.reshape(-1, channels + 1))
    seen = total[:, -1:]
    return torch.cat([total[:, :-1] / seen.clamp(min=1e-3), torch.log1p(seen)], dim=1)


@torch.no_grad()
def cells_to_nodes(
    volume: SceneVolume,
    thickness: Float[Tensor, "r r r"],
    nodes: Nodes,
    camera: Cameras,
    shape: tuple[int, int],
) -> tuple[Int[Tensor, "cells k"], Float[Tensor, "cells k"]]:
    """The nodes that each cell of a feature map shows, and how much.

    Args:
        volume: the scene.
        thickness: of the volume, dense.
        nodes: of the scene.
        camera: of the photograph, of shape (1,).
        shape: rows and columns of the feature map.
    """
    pixels = patch_pixels(camera, shape)
    rays = camera.generate_rays(torch.zeros(len(pixels), 1, dtype=torch.long), coords=pixels)
    device = thickness.device
    marched = march(thickness, volume.to_cells(rays.origins).to(device), rays.directions.to(device))
    positions, weights = heaviest_points(marched.positions, marched.weights, _SAMPLES)
    indices, shares = corners(nodes, positions.reshape(-1, 3))
    return indices.view(len(pixels), -1), (shares.view(*weights.shape, 8) * weights[..., None]).view(len(pixels), -1)
