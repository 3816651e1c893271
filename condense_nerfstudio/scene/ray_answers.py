"""What the field says along single rays: where they end, how surely, and what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from nerfstudio.cameras.rays import RayBundle, RaySamples
from torch import Tensor

from condense_nerfstudio.scene.model import CondenseModel
from condense_nerfstudio.scene.sampling import ray_weights

_MIDDLE = (1 / 6, 1 / 2, 5 / 6)


@dataclass
class RayAnswers:
    """Answers for rays; see :func:`look_along`."""

    distance: Float[Tensor, " rays"]
    """Along the ray, where half of its weight is met (the median)."""
    spread: Float[Tensor, " rays"]
    """Half the length of the stretch in which the middle two thirds of the weight lie."""
    accumulation: Float[Tensor, " rays"]
    """The whole weight, in 0..1."""
    rgb: Float[Tensor, "rays 3"]
    """Colour in 0..1."""
    keypoint: Float[Tensor, " rays"] | None
    """K(r), the 3D key-point head; None where the scene has none."""
    features: dict[str, Float[Tensor, "rays c"]] = field(default_factory=dict)
    """R(r), centred, by teacher; empty unless asked for."""


@torch.no_grad()
def look_along(model: CondenseModel, rays: RayBundle, features: bool = False) -> RayAnswers:
    """Renders single rays, in chunks; a training that goes on meanwhile takes its steps between them.

    Args:
        model: the scene.
        rays: of shape (rays,), in the scene's frame, with directions of length one.
        features: whether to render the teachers' features too.
    """
    chunk = model.config.eval_num_rays_per_chunk
    starts = range(0, max(len(rays), 1), chunk)
    parts = [_look_along_chunk(model, rays[start : start + chunk], features) for start in starts]

    def joined(value: Callable[[RayAnswers], Tensor]) -> Tensor:
        return torch.cat([value(part) for part in parts])

    return RayAnswers(
        distance=joined(lambda part: part.distance),
        spread=joined(lambda part: part.spread),
        accumulation=joined(lambda part: part.accumulation),
        rgb=joined(lambda part: part.rgb),
        keypoint=None if model.keypoints is None else torch.cat([p.keypoint for p in parts if p.keypoint is not None]),
        features={name: joined(lambda part, name=name: part.features[name]) for name in parts[0].features},
    )


def _look_along_chunk(model: CondenseModel, rays: RayBundle, features: bool) -> RayAnswers:
    with model.at_rest():
        samples, density, rgb = model.sample_field(rays)
        weights = ray_weights(samples, density)
        distance, spread = _median_and_spread(samples, weights[..., 0])
        return RayAnswers(
            distance=distance,
            spread=spread,
            accumulation=weights.sum(dim=1)[:, 0],
            rgb=model.renderer_rgb(rgb=rgb, weights=weights),
            keypoint=model.rendered_keypoints(samples, weights[..., 0]),
            features=model.decoded_features(samples, weights[..., 0]) if features else {},
        )


def _median_and_spread(
    samples: RaySamples, weights: Float[Tensor, "rays samples"]
) -> tuple[Float[Tensor, " rays"], Float[Tensor, " rays"]]:
    """Quantiles of a ray's weight, as a function that is linear within each sample."""
    edges = torch.cat([samples.frustums.starts[:, :1, 0], samples.frustums.ends[..., 0]], dim=1)
    met = torch.nn.functional.pad(weights.cumsum(dim=1), (1, 0)).contiguous()
    wanted = met[:, -1:] * met.new_tensor(_MIDDLE)
    after = torch.searchsorted(met, wanted).clamp(1, met.shape[1] - 1)
    below, above = met.gather(1, after - 1), met.gather(1, after)
    share = ((wanted - below) / (above - below).clamp(min=1e-12)).clamp(0.0, 1.0)
    near, far = edges.gather(1, after - 1), edges.gather(1, after)
    first, median, last = (near + share * (far - near)).unbind(dim=1)
    return median, (last - first) / 2
