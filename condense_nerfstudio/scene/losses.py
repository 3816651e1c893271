"""The feature losses.

ConDense's own formulas are not public. These are ours: a distance on mean-centred features, used once between the two
branches (consistency) and once from each branch to the frozen teacher (anchors).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LEAST_LENGTH = 0.5
"""Shortest length of a feature, in units of that of a teacher's typical feature, that the cosine divides by."""


def feature_distance(a: Float[Tensor, "*bs c"], b: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs"]:
    """One minus the cosine, plus the smooth L1 distance averaged over channels.

    The cosine is what every query uses; the L1 term keeps the lengths comparable, so that the mean can be added back.
    The cosine divides by no less than half a typical length: the true cosine of a short feature can only turn it, ever
    more violently the shorter it is, and a field that starts near zero then never grows to its teacher's length.

    Args:
        a: mean-centred features, scaled to unit variance.
        b: the same, of the same shape.
    """
    least = LEAST_LENGTH * a.shape[-1] ** 0.5
    lengths = a.norm(dim=-1).clamp(min=least) * b.norm(dim=-1).clamp(min=least)
    cosine = (a * b).sum(dim=-1) / lengths
    return 1.0 - cosine + F.smooth_l1_loss(a, b, reduction="none").mean(dim=-1)


@dataclass
class ConsistencyWeights:
    """How much each feature loss counts."""

    consistency: float = 1.0
    """Weight of the distance between the rendered 3D feature and the adapted 2D feature; trains both branches."""
    anchor_2d: float = 0.5
    """Weight of the distance between the adapted 2D feature and the frozen teacher's; without it both branches
    collapse."""
    anchor_3d: float = 1.0
    """Weight of the distance between the rendered 3D feature and the frozen teacher's."""


def feature_losses(
    rendered: Float[Tensor, "rays c"],
    adapted: Float[Tensor, "rays c"],
    teacher: Float[Tensor, "rays c"],
    weights: ConsistencyWeights,
) -> dict[str, Float[Tensor, ""]]:
    """The three feature losses of one teacher over a batch of rays.

    Args:
        rendered: R(r), the 3D branch: features rendered along each ray and decoded.
        adapted: G(p), the 2D branch: the teacher's feature plus the adapter's correction.
        teacher: F(p), the frozen teacher; gets no gradient.
        weights: how much each term counts.

    Returns:
        The weighted terms by name: consistency (gradient into both branches), anchor_2d, anchor_3d.
    """
    teacher = teacher.detach()
    return {
        "consistency": weights.consistency * feature_distance(rendered, adapted).mean(),
        "anchor_2d": weights.anchor_2d * feature_distance(adapted, teacher).mean(),
        "anchor_3d": weights.anchor_3d * feature_distance(rendered, teacher).mean(),
    }
