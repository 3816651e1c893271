"""The radiance field: density and colour from a hash grid, in nerfacto's arrangement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RaySamples
from nerfstudio.field_components.activations import trunc_exp
from nerfstudio.utils.math import components_from_spherical_harmonics
from torch import Tensor, nn

from condense_nerfstudio.hashgrid import HashGrid
from condense_nerfstudio.scene.contraction import contract
from condense_nerfstudio.scene.perceptron import Perceptron, perceptron

Backend = Literal["auto", "tcnn", "cpu", "torch"]

SH_LEVELS = 4


@dataclass
class GridConfig:
    """Size of one hash grid."""

    num_levels: int = 16
    """Number of resolutions."""
    features_per_level: int = 2
    """Features stored at each vertex of each resolution."""
    log2_hashmap_size: int = 19
    """Logarithm (base 2) of the entries of a level's table."""
    base_resolution: int = 16
    """Cells a side at the coarsest level."""
    max_resolution: int = 2048
    """Cells a side at the finest level."""

    def build(self, backend: Backend) -> HashGrid:
        """Makes the grid."""
        return HashGrid(
            num_levels=self.num_levels,
            features_per_level=self.features_per_level,
            log2_hashmap_size=self.log2_hashmap_size,
            base_resolution=self.base_resolution,
            max_resolution=self.max_resolution,
            backend=backend,
        )


def exp_density(raw: Float[Tensor, "*bs"], average: float) -> Float[Tensor, "*bs 1"]:
    """Density from a network's output.

    Args:
        raw: what the network says; zero at the start, on average.
        average: density where the network says zero.
    """
    return average * trunc_exp(raw)[..., None]


class DensityField(nn.Module):
    """A small density-only field that proposes where to sample.

    Args:
        grid: its hash grid.
        hidden_dim: width of its network.
        average_density: density at the start, on average.
        backend: backend of the hash grid.
    """

    def __init__(self, grid: GridConfig, hidden_dim: int, average_density: float, backend: Backend) -> None:
        super().__init__()
        self.average_density = average_density
        self.grid = grid.build(backend)
        self.network = Perceptron(self.grid.output_dim, hidden_dim, 1)

    def forward(self, positions: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 1"]:
        """Density at positions in the scene's frame (nerfstudio's, before contraction)."""
        return exp_density(self.network(self.grid(contract(positions)))[..., 0], self.average_density)


class RadianceField(nn.Module):
    """Density and view-dependent colour.

    Args:
        grid: its hash grid.
        hidden_dim: width of the density network.
        hidden_dim_color: width of the colour network.
        geometry_dim: values handed from the density network to the colour network.
        num_images: number of training images, one appearance code each.
        appearance_dim: length of an appearance code; 0 for none.
        average_density: density at the start, on average.
        backend: backend of the hash grid.
    """

    def __init__(
        self,
        grid: GridConfig,
        hidden_dim: int,
        hidden_dim_color: int,
        geometry_dim: int,
        num_images: int,
        appearance_dim: int,
        average_density: float,
        backend: Backend,
    ) -> None:
        super().__init__()
        self.average_density = average_density
        self.grid = grid.build(backend)
        self.base = Perceptron(self.grid.output_dim, hidden_dim, 1 + geometry_dim)
        self.appearance = nn.Embedding(num_images, appearance_dim) if appearance_dim else None
        # The first colour layer is split: what depends on the ray alone is computed once a ray, not once a sample.
        self.color_from_ray = nn.Linear(SH_LEVELS**2 + appearance_dim, hidden_dim_color, bias=False)
        self.color_from_geometry = nn.Linear(geometry_dim, hidden_dim_color, bias=False)
        self.color = Perceptron(hidden_dim_color, hidden_dim_color, 3)

    def forward(
        self, ray_samples: RaySamples
    ) -> tuple[Float[Tensor, "rays samples 1"], Float[Tensor, "rays samples 3"]]:
        """Density and colour at the samples of rays.

        Args:
            ray_samples: samples of shape (rays, samples), in the scene's frame.
        """
        positions = contract(ray_samples.frustums.get_positions())
        base = self.base(self.grid(positions))
        density = exp_density(base[..., 0], self.average_density)
        color_weights = [self.color_from_geometry.weight, *self.color.weights]
        return density, torch.sigmoid(perceptron(base[..., 1:], color_weights, self._ray_term(ray_samples)))

    def _ray_term(self, ray_samples: RaySamples) -> Float[Tensor, "rays hidden"]:
        """The part of the first colour layer that depends on direction and appearance only."""
        directions = ray_samples.frustums.directions[:, 0]
        inputs = [components_from_spherical_harmonics(SH_LEVELS, directions)]
        if self.appearance is not None:
            inputs.append(self._appearance_codes(ray_samples, len(directions)))
        return self.color_from_ray(torch.cat(inputs, dim=-1))

    def _appearance_codes(self, ray_samples: RaySamples, num_rays: int) -> Float[Tensor, "rays dim"]:
        """Each training image's own code while training; the mean code for views that were never trained."""
        assert self.appearance is not None
        if self.training and ray_samples.camera_indices is not None:
            return self.appearance(ray_samples.camera_indices[:, 0, 0])
        return self.appearance.weight.mean(dim=0).expand(num_rays, -1)
