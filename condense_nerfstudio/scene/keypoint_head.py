"""The key-point heads: how likely a 3D point, or a place in a photograph, is to be found by the detector in any view.

A 2D detector answers for one photograph. A point of the field is seen by many: trained on all of them, it holds the
share that agrees, so that what a single view detects dies out.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from condense_nerfstudio.scene.contraction import contract
from condense_nerfstudio.scene.field import Backend, GridConfig
from condense_nerfstudio.scene.loss_config import KeypointLossConfig
from condense_nerfstudio.scene.perceptron import Perceptron

START = -2.0
"""What is added to the network's output, so that a new head calls an eighth of everything a key point."""

SUBCELLS = 8
"""The 2D head answers for so many places across and down each cell of the teacher."""


class KeypointField(nn.Module):
    """k(x): the 3D head, from a fine hash grid of its own.

    Args:
        grid: the hash grid.
        hidden_dim: width of the network.
        backend: backend of the hash grid.
    """

    def __init__(self, grid: GridConfig, hidden_dim: int, backend: Backend) -> None:
        super().__init__()
        self.grid = grid.build(backend)
        self.network = Perceptron(self.grid.output_dim, hidden_dim, 1)

    def forward(self, positions: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs"]:
        """k at positions in the scene's frame, in 0..1."""
        return torch.sigmoid(self.network(self.grid(contract(positions)))[..., 0] + START)

    def render(
        self, positions: Float[Tensor, "rays kept 3"], weights: Float[Tensor, "rays kept"]
    ) -> Float[Tensor, " rays"]:
        """K(r) = sum_i w_i k(x_i).

        Args:
            positions: samples in the scene's frame.
            weights: their weights.
        """
        return (weights * self(positions)).sum(dim=1)


class KeypointMapHead(nn.Module):
    """The 2D head, on the consistent feature map G: several places within each cell of the teacher.

    Args:
        dim: channels of the teacher.
        hidden_dim: width of the network.
    """

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, SUBCELLS * SUBCELLS, bias=False)
        )

    def forward(self, feature_maps: Float[Tensor, "*bs hp wp c"]) -> Float[Tensor, "*bs hs ws"]:
        """How likely key points are, in 0..1, SUBCELLS times as fine as the feature map.

        Args:
            feature_maps: G, centred.
        """
        logits = self.network(feature_maps).movedim(-1, -3)
        return torch.sigmoid(functional.pixel_shuffle(logits, SUBCELLS)[..., 0, :, :] + START)


class KeypointHeads(nn.Module):
    """Both heads of a scene.

    Args:
        field: the 3D head.
        map_head: the 2D head.
    """

    def __init__(self, field: KeypointField, map_head: KeypointMapHead) -> None:
        super().__init__()
        self.field = field
        self.map_head = map_head


def focal_loss(probability: Float[Tensor, " n"], target: Float[Tensor, " n"]) -> Float[Tensor, ""]:
    """Quality focal loss with beta = 2 (Li et al., NeurIPS 2020, equation 3), averaged.

    The focal loss (Lin et al., ICCV 2017) for targets between 0 and 1: cross entropy, weighed by how far the answer is
    off, since nearly everywhere there is no key point.

    Args:
        probability: the answer.
        target: in 0..1; gets no gradient.
    """
    target = target.detach()
    probability = probability.float().clamp(1e-4, 1.0 - 1e-4)
    cross_entropy = -(target * probability.log() + (1.0 - target) * (1.0 - probability).log())
    return ((target - probability).square() * cross_entropy).mean()


def keypoint_losses(
    rendered: Float[Tensor, " rays"],
    predicted: Float[Tensor, " rays"],
    heat: Float[Tensor, " rays"],
    config: KeypointLossConfig,
) -> dict[str, Float[Tensor, ""]]:
    """The key-point losses of one step, weighed, by name.

    Args:
        rendered: K(r), the 3D head.
        predicted: the 2D head at the rays' pixels.
        heat: the detector's heat map at the rays' pixels.
        config: how much each term counts.
    """
    agreement = focal_loss(rendered, predicted) + focal_loss(predicted, rendered)
    return {
        "keypoints_3d": config.detection * focal_loss(rendered, heat),
        "keypoints_2d": config.detection * focal_loss(predicted, heat),
        "keypoints_agreement": config.agreement * agreement,
    }
