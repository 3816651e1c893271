"""What is computed along rays: the kernels against nerfstudio's own functions, in values and gradients."""

from __future__ import annotations

import sys

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle, RaySamples
from nerfstudio.model_components import losses
from nerfstudio.model_components.ray_samplers import ProposalNetworkSampler, UniformSampler
from torch import Tensor

from condense_nerfstudio.scene import sampling
from condense_nerfstudio.scene.sampling import ProposalSampler, ray_weights

RAYS = 37


def rays(num: int = RAYS) -> RayBundle:
    torch.manual_seed(0)
    return RayBundle(
        origins=0.1 * torch.randn(num, 3),
        directions=torch.nn.functional.normalize(torch.randn(num, 3), dim=-1),
        pixel_area=torch.full((num, 1), 1e-4),
        nears=torch.full((num, 1), 0.05),
        fars=torch.full((num, 1), 1000.0),
        camera_indices=torch.zeros(num, 1, dtype=torch.long),
    )


class Waves(torch.nn.Module):
    """A density with one parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.height = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, positions: Tensor) -> Tensor:
        return torch.exp(self.height * torch.sin(5 * positions.sum(dim=-1, keepdim=True)))


def sampled(kind: type[ProposalNetworkSampler], train: bool, jitter: bool, uniform: bool) -> tuple[Waves, list, list]:
    waves = Waves()
    initial = UniformSampler(single_jitter=jitter) if uniform else None
    sampler = kind((32, 16), 8, 2, single_jitter=jitter, initial_sampler=initial)
    sampler.train(train)
    sampler.set_anneal(0.7)
    torch.manual_seed(1)
    samples, weights, samples_list = sampler(rays(), density_fns=[waves, waves])
    return waves, weights, [*samples_list, samples]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("jitter", [True, False])
@pytest.mark.parametrize("uniform", [True, False])
def test_the_sampler_draws_what_nerfstudio_draws(train: bool, jitter: bool, uniform: bool) -> None:
    _, weights, samples = sampled(ProposalSampler, train, jitter, uniform)
    _, expected_weights, expected = sampled(ProposalNetworkSampler, train, jitter, uniform)
    for ours, theirs in zip(samples, expected, strict=True):
        assert ours.shape == theirs.shape
        torch.testing.assert_close(ours.frustums.starts, theirs.frustums.starts, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(ours.frustums.ends, theirs.frustums.ends, rtol=1e-4, atol=1e-4)
    for ours, theirs in zip(weights, expected_weights, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_losses_and_gradients_are_nerfstudios() -> None:
    waves, weights, samples = sampled(ProposalSampler, True, True, False)
    weights.append(ray_weights(samples[-1], waves(samples[-1].frustums.get_positions())))
    pairs = {
        "interlevel": (sampling.interlevel_loss(weights, samples), losses.interlevel_loss(weights, samples)),
        "distortion": (
            sampling.distortion_loss(weights[-1], samples[-1]),
            losses.distortion_loss(weights, samples),
        ),
    }
    for ours, theirs in pairs.values():
        torch.testing.assert_close(ours, theirs)
        gradients = [torch.autograd.grad(loss, waves.height, retain_graph=True)[0] for loss in (ours, theirs)]
        assert gradients[1] != 0
        torch.testing.assert_close(*gradients)


def test_weights_and_their_gradient_are_nerfstudios() -> None:
    _, _, samples = sampled(ProposalSampler, True, False, False)
    densities = (4 * torch.rand(samples[0].shape)[..., None]).requires_grad_()
    ours, theirs = ray_weights(samples[0], densities), samples[0].get_weights(densities)
    torch.testing.assert_close(ours, theirs)
    gradient = torch.randn(ours.shape)
    torch.testing.assert_close(
        *(torch.autograd.grad(weights, densities, gradient)[0] for weights in (ours, theirs)), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e30, 0.0])
def test_odd_densities_do_not_spread(bad: float) -> None:
    _, _, samples = sampled(ProposalSampler, True, False, False)
    densities = torch.full((*samples[0].shape, 1), bad, requires_grad=True)
    weights = ray_weights(samples[0], densities)
    assert weights.isfinite().all() and (weights.sum(dim=1) <= 1.001).all()
    weights.sum().backward()
    assert densities.grad is not None and densities.grad.isfinite().all()


def test_works_without_numba(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = sampled(ProposalSampler, True, True, False)
    monkeypatch.setitem(sys.modules, "numba", None)
    _, weights, samples = sampled(ProposalSampler, True, True, False)
    torch.testing.assert_close(weights[-1], compiled[1][-1], rtol=1e-3, atol=1e-4)
    assert sampling.interlevel_loss([*weights, weights[-1]], [*samples[:-1], samples[1]]).isfinite()


def test_other_types_take_nerfstudios_functions() -> None:
    bundle = rays()
    bundle.origins = bundle.origins.double()
    samples, weights, samples_list = ProposalSampler((8,), 4, 1).eval()(bundle, density_fns=[Waves()])
    assert isinstance(samples, RaySamples) and weights[0].dtype == torch.float64 and len(samples_list) == 1
