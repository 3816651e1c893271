"""Feature heads: the part of the field that outputs a teacher's features at 3D points."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from condense_nerfstudio.scene.adapter import Adapter
from condense_nerfstudio.scene.contraction import contract
from condense_nerfstudio.scene.field import Backend, GridConfig
from condense_nerfstudio.scene.perceptron import Perceptron
from condense_nerfstudio.teachers.statistics import FeatureStatistics

PCA_COLOR_RANGE = 2.0
"""Standard deviations from the mean at which a colour of the PCA picture saturates."""

_LONGEST_REVISION = 64
"""Bytes kept of a teacher's revision."""

LEAST_SCALE = 1e-6
"""Standard deviation below which features count as all the same."""


class FeatureField(nn.Module):
    """Low-dimensional features of several teachers from one hash grid of its own.

    Its own grid, because gradients of features into the geometry's grid would bend the geometry.

    Args:
        grid: the hash grid shared by the teachers.
        hidden_dim: width of the networks.
        feature_dims: length of the low-dimensional feature of each teacher, by name.
        backend: backend of the hash grid.
    """

    def __init__(self, grid: GridConfig, hidden_dim: int, feature_dims: dict[str, int], backend: Backend) -> None:
        super().__init__()
        self.grid = grid.build(backend)
        self.networks = nn.ModuleDict(
            {name: Perceptron(self.grid.output_dim, hidden_dim, dim) for name, dim in feature_dims.items()}
        )

    def forward(self, positions: Float[Tensor, "*bs 3"]) -> dict[str, Float[Tensor, "*bs dim"]]:
        """Low-dimensional features of every teacher at positions in the scene's frame."""
        encoded = self.grid(contract(positions))
        return {name: network(encoded) for name, network in self.networks.items()}

    def render(
        self, positions: Float[Tensor, "rays kept 3"], weights: Float[Tensor, "rays kept"]
    ) -> dict[str, Float[Tensor, "rays dim"]]:
        """Weighted sums of the features along rays.

        The last layer of a network is linear: it is applied to the sum, once a ray, instead of to every sample. The
        first layers, alike for all teachers, are one product.

        Args:
            positions: samples in the scene's frame.
            weights: their weights.
        """
        networks = [network for network in self.networks.values() if isinstance(network, Perceptron)]
        first = torch.cat([network.weights[0] for network in networks])
        hidden = torch.relu(self.grid(contract(positions)) @ first.t())
        sums = (weights[:, None] @ hidden)[:, 0].chunk(len(networks), dim=-1)
        return {
            name: part @ network.weights[1].t()
            for name, network, part in zip(self.networks, networks, sums, strict=True)
        }

    @torch.no_grad()
    def silence(self) -> None:
        """Sets the output to zero everywhere, from where it can learn what something else misses."""
        for network in self.networks.values():
            assert isinstance(network, Perceptron)
            network.weights[1].zero_()


class TeacherHead(nn.Module):
    """What the model keeps of one teacher: its statistics, the linear decoder and the 2D branch's adapter.

    Features leave here either *centred* (minus the mean, divided by the scale: the space of the losses) or *raw* (the
    teacher's own space, the one in which text can be compared).

    Args:
        dim: channels of the teacher.
        feature_dim: length of the low-dimensional rendered feature.
        adapter_dim: channels of the adapter's bottleneck.
        adapter_kernel: side of the adapter's neighbourhood in cells.
    """

    mean: Tensor
    scale: Tensor
    pca: Tensor
    fingerprint: Tensor

    def __init__(self, dim: int, feature_dim: int, adapter_dim: int, adapter_kernel: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("pca", torch.zeros(dim, 3))
        self.register_buffer("fingerprint", torch.zeros(_LONGEST_REVISION, dtype=torch.uint8))
        self.decoder = nn.Linear(feature_dim, dim, bias=False)
        self.adapter = Adapter(dim, adapter_dim, adapter_kernel)

    @property
    def dim(self) -> int:
        """Channels of the teacher."""
        return self.decoder.out_features

    @property
    def revision(self) -> str:
        """The revision of the teacher that this head was trained on (Teacher.revision); "unknown" if none was kept."""
        return bytes(self.fingerprint.tolist()).rstrip(b"\0").decode(errors="replace") or "unknown"

    @revision.setter
    def revision(self, revision: str) -> None:
        content = revision.encode()[:_LONGEST_REVISION].ljust(_LONGEST_REVISION, b"\0")
        self.fingerprint.copy_(torch.tensor(list(content), dtype=torch.uint8))

    @torch.no_grad()
    def start_from(self, statistics: FeatureStatistics) -> None:
        """Takes over the teacher's mean and scale, and starts the decoder at its PCA basis.

        Each column of the decoder has the length of that component's standard deviation, so that the field starts
        with outputs of unit size. The stored three-channel projection maps each component to 0..1.
        """
        self.mean.copy_(statistics.mean)
        # Identical images, all black say, have no variance at all.
        self.scale.fill_(max(math.sqrt(max(statistics.total_variance, 0.0) / self.dim), LEAST_SCALE))
        deviations = statistics.eigenvalues.sqrt() / self.scale
        rank = self.decoder.in_features
        self.decoder.weight.copy_(statistics.basis[:, :rank] * deviations[:rank])
        self.pca.copy_(statistics.basis[:, :3] / (2.0 * PCA_COLOR_RANGE * deviations[:3]).clamp(min=1e-6))

    def center(self, raw: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs c"]:
        """From the teacher's own space to centred features."""
        return (raw - self.mean) / self.scale

    def uncenter(self, centred: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs c"]:
        """From centred features to the teacher's own space."""
        return centred * self.scale + self.mean

    def colors(self, centred: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs 3"]:
        """The first three principal components as RGB in 0..1, the same projection in every frame."""
        return (centred @ self.pca + 0.5).clamp(0.0, 1.0)


def heaviest_samples(
    weights: Float[Tensor, "rays samples"], count: int
) -> tuple[Float[Tensor, "rays kept"], Int[Tensor, "rays kept"]]:
    """Keeps the samples of a ray that carry most of its rendering weight, rescaled to the ray's whole weight.

    Features need few samples: where a ray has hit its surface, nearly all weight sits in a handful.

    Args:
        weights: rendering weights.
        count: samples to keep; all of them where a ray has fewer.

    Returns:
        The kept weights, whose sum over a ray is that of all its weights, and their indices along the ray.
    """
    kept, indices = weights.topk(min(count, weights.shape[1]), dim=1, sorted=False)
    total = weights.sum(dim=1, keepdim=True)
    return kept * (total / kept.sum(dim=1, keepdim=True).clamp(min=1e-8)), indices


def heaviest_points(
    positions: Float[Tensor, "rays samples 3"], weights: Float[Tensor, "rays samples"], count: int
) -> tuple[Float[Tensor, "rays kept 3"], Float[Tensor, "rays kept"]]:
    """The samples at which features are evaluated, and their weights; see :func:`heaviest_samples`.

    Args:
        positions: samples in the scene's frame.
        weights: rendering weights of the samples.
        count: samples to keep.
    """
    kept, indices = heaviest_samples(weights, count)
    return positions.gather(1, indices[..., None].expand(-1, -1, 3)), kept
