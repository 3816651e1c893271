"""The feature losses.

ConDense's own formulas are not public. These are ours: a distance on mean-centred features, used once between the two
branches (consistency) and once from each branch to the frozen teacher (anchors), and a contrast between the branches.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.backends import runs_compiled
from condense_nerfstudio.scene.loss_config import FeatureLossConfig

LEAST_LENGTH = 0.5
"""Shortest length of a feature, in units of that of a teacher's typical feature, that the cosine divides by."""


def directions(features: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs c"]:
    """Features divided by their length, but by no less than half a typical one.

    Their products are cosines, which every query uses. The true cosine of a short feature can only turn it, ever more
    violently the shorter it is, and a field that starts near zero then never grows to its teacher's length.

    Args:
        features: mean-centred, scaled to unit variance.
    """
    least = LEAST_LENGTH * features.shape[-1] ** 0.5
    return features / features.norm(dim=-1, keepdim=True).clamp(min=least)


def feature_distance(a: Float[Tensor, "*bs c"], b: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs"]:
    """One minus the cosine, plus the smooth L1 distance averaged over channels.

    The L1 term keeps the lengths comparable, so that the mean can be added back.

    Args:
        a: mean-centred features, scaled to unit variance.
        b: the same, of the same shape.
    """
    cosine = (directions(a) * directions(b)).sum(dim=-1)
    return 1.0 - cosine + F.smooth_l1_loss(a, b, reduction="none").mean(dim=-1)


def distances(
    rendered: Float[Tensor, "rays c"], adapted: Float[Tensor, "rays c"], teacher: Float[Tensor, "rays c"]
) -> Float[Tensor, "3 rays"]:
    """:func:`feature_distance` of rendered and adapted, adapted and teacher, rendered and teacher features."""
    if runs_compiled(rendered, adapted, teacher):
        from condense_nerfstudio.scene.distance_kernels import distances_compiled

        return distances_compiled(rendered, adapted, teacher, LEAST_LENGTH * teacher.shape[-1] ** 0.5)
    return distances_reference(rendered, adapted, teacher)


def distances_reference(
    rendered: Float[Tensor, "rays c"], adapted: Float[Tensor, "rays c"], teacher: Float[Tensor, "rays c"]
) -> Float[Tensor, "3 rays"]:
    """The same in plain PyTorch: for other devices and types, and what the kernel is tested against."""
    teacher = teacher.detach()
    pairs = (rendered, adapted), (adapted, teacher), (rendered, teacher)
    return torch.stack([feature_distance(a, b) for a, b in pairs])


def contrastive_loss(
    rendered: Float[Tensor, "rays c"],
    adapted: Float[Tensor, "rays c"],
    points: Float[Tensor, "rays 3"],
    reach: Float[Tensor, " rays"],
    temperature: float,
) -> Float[Tensor, ""]:
    """Each branch must pick its own surface point out of the other branch's features at all others.

    InfoNCE (van den Oord et al., arXiv 1807.03748, equation 4) from 3D to 2D and from 2D to 3D, averaged. The distance
    above pulls the branches together; this keeps apart what is apart, so that features can be found again.

    Args:
        rendered: R(r), mean-centred.
        adapted: G(p), mean-centred, of the same rays.
        points: the surface points of the rays.
        reach: distance within which another ray shows the same thing and is no negative. Symmetric: the larger of two.
        temperature: divides the cosines (of :func:`directions`).
    """
    if not len(points):
        return rendered.sum() * 0.0
    cosine = directions(rendered) @ directions(adapted).T
    same = torch.cdist(points, points) < torch.maximum(reach[:, None], reach)
    same.fill_diagonal_(False)
    scores = (cosine.float() / temperature).masked_fill(same, -torch.inf)
    return ((scores.logsumexp(dim=1) + scores.logsumexp(dim=0)) / 2 - scores.diagonal()).mean()


def distance_losses(
    rendered: Float[Tensor, "rays c"],
    adapted: Float[Tensor, "rays c"],
    teacher: Float[Tensor, "rays c"],
    config: FeatureLossConfig,
) -> dict[str, Float[Tensor, ""]]:
    """Consistency and anchors of one teacher over a batch of rays.

    Args:
        rendered: R(r), the 3D branch: features rendered along each ray and decoded.
        adapted: G(p), the 2D branch: the teacher's feature plus the adapter's correction.
        teacher: F(p), the frozen teacher; gets no gradient.
        config: how much each term counts.

    Returns:
        The weighted terms by name: consistency (gradient into both branches), anchor_2d, anchor_3d.
    """
    consistency, anchor_2d, anchor_3d = distances(rendered, adapted, teacher).mean(dim=1)
    return {
        "consistency": config.consistency * consistency,
        "anchor_2d": config.anchor_2d * anchor_2d,
        "anchor_3d": config.anchor_3d * anchor_3d,
    }
