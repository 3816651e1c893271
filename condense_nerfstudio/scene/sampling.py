"""Samples along rays: nerfacto's proposal sampling and its losses, in one pass over each ray where that is compiled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.model_components import losses
from nerfstudio.model_components.ray_samplers import PDFSampler, ProposalNetworkSampler
from torch import Tensor

from condense_nerfstudio.backends import runs_compiled


def ray_weights(samples: RaySamples, densities: Float[Tensor, "rays n 1"]) -> Float[Tensor, "rays n 1"]:
    """Rendering weights of the samples of rays (NeRF, Mildenhall et al., ECCV 2020, equation 3)."""
    assert samples.deltas is not None
    if runs_compiled(densities, samples.deltas):
        from condense_nerfstudio.scene import ray_compiled

        return ray_compiled.weights(densities[..., 0], samples.deltas[..., 0])[..., None]
    return samples.get_weights(densities)


def interlevel_loss(weights: Sequence[Tensor], samples: Sequence[RaySamples]) -> Float[Tensor, ""]:
    """How far the proposals fall short of the field's weights (mip-NeRF 360, Barron et al., CVPR 2022, equation 13).

    Args:
        weights: rendering weights (rays, n, 1) of each round of proposals, and of the field at last.
        samples: their samples.
    """
    if not runs_compiled(*weights):
        return losses.interlevel_loss(list(weights), list(samples))
    from condense_nerfstudio.scene import ray_compiled

    bins = edges(samples[-1])
    terms = [
        ray_compiled.interlevel_loss(bins, weights[-1][..., 0], edges(proposed), proposed_weights[..., 0])
        for proposed_weights, proposed in zip(weights[:-1], samples[:-1], strict=True)
    ]
    return torch.stack(terms).sum()


def distortion_loss(weights: Float[Tensor, "rays n 1"], samples: RaySamples) -> Float[Tensor, ""]:
    """How spread the weights are along rays (mip-NeRF 360, equation 15), without floaters near 0."""
    if not runs_compiled(weights):
        return losses.distortion_loss([weights], [samples])
    from condense_nerfstudio.scene import ray_compiled

    return ray_compiled.distortion_loss(edges(samples), weights[..., 0])


def edges(samples: RaySamples) -> Float[Tensor, "rays edges"]:
    """Where samples begin and end in the sampler's own space, 0 at the near plane and 1 at the far one."""
    assert samples.spacing_starts is not None and samples.spacing_ends is not None
    return torch.cat([samples.spacing_starts[..., 0], samples.spacing_ends[..., -1:, 0]], dim=-1)


class ProposalSampler(ProposalNetworkSampler):
    """Nerfacto's sampler: uniform samples first, then samples where the proposal networks expect something.

    Where it is compiled, no gradient of the proposal networks reaches the camera poses: they follow the field, and what
    moves the cameras is the field alone.
    """

    def generate_ray_samples(
        self, ray_bundle: RayBundle | None = None, density_fns: list[Callable] | None = None
    ) -> tuple[RaySamples, list, list]:
        """Samples for the field, and the weights and samples of every round of proposals."""
        assert ray_bundle is not None and density_fns is not None and ray_bundle.origins is not None
        if not runs_compiled(ray_bundle.origins):
            return super().generate_ray_samples(ray_bundle, density_fns)
        learns = self._steps_since_update > self.update_sched(self._step) or self._step < 10
        samples = self.initial_sampler(ray_bundle, num_samples=self.num_proposal_samples_per_ray[0])
        counts = [*self.num_proposal_samples_per_ray[1 : self.num_proposal_network_iterations]]
        weights_list, samples_list = [], []
        for density_fn, count in zip(density_fns, [*counts, self.num_nerf_samples_per_ray], strict=True):
            with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                weights = ray_weights(samples, density_fn(samples.frustums.get_positions().detach()))
            weights_list.append(weights)
            samples_list.append(samples)
            samples = self._resample(ray_bundle, samples, weights[..., 0], count)
        if learns:
            self._steps_since_update = 0
        return samples, weights_list, samples_list

    def _resample(self, rays: RayBundle, samples: RaySamples, weights: Tensor, count: int) -> RaySamples:
        """`count` samples where the weights are."""
        from condense_nerfstudio.scene import ray_compiled

        sampler = self.pdf_sampler
        assert isinstance(sampler, PDFSampler) and samples.spacing_to_euclidean_fn is not None
        num_edges = count + 1
        jitter = torch.full((len(weights), 1), 0.5)
        if sampler.train_stratified and self.training:
            jitter = torch.rand(len(weights), 1 if sampler.single_jitter else num_edges)
        positions = torch.linspace(0.0, 1.0 - 1.0 / num_edges, num_edges) + jitter / num_edges
        bins = ray_compiled.resample(edges(samples), weights, self._anneal, sampler.histogram_padding, positions)
        distances = samples.spacing_to_euclidean_fn(bins)
        return rays.get_ray_samples(
            bin_starts=distances[:, :-1, None],
            bin_ends=distances[:, 1:, None],
            spacing_starts=bins[:, :-1, None],
            spacing_ends=bins[:, 1:, None],
            spacing_to_euclidean_fn=samples.spacing_to_euclidean_fn,
        )
