"""One vector for a scene, and one for a photograph, in one space: for finding the scene that a photograph shows."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

_HIDDEN = 128
_SHARPNESS = 4.0
"""At the start; between the mean (0) and the largest value (infinity)."""
_START_TEMPERATURE = 0.1


class Embedding(nn.Module):
    """Pools a set of features; the same for nodes of a scene and for cells of a photograph.

    A log-mean-exp over the set with a trained sharpness for each channel: a photograph shows a part of its scene, and a
    mean over all of it would drown what the part has.

    Args:
        dim: channels of a feature, all teachers together.
        embedding_dim: length of the embedding.
    """

    def __init__(self, dim: int, embedding_dim: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, _HIDDEN), nn.GELU(), nn.Linear(_HIDDEN, _HIDDEN)
        )
        self.sharpness = nn.Parameter(torch.full((_HIDDEN,), math.log(_SHARPNESS)))
        self.output = nn.Linear(_HIDDEN, embedding_dim)
        self.temperature = nn.Parameter(torch.tensor(math.log(_START_TEMPERATURE)))

    def forward(self, features: Float[Tensor, "n c"]) -> Float[Tensor, " e"]:
        """The embedding of a set, of length one."""
        hidden, sharpness = self.features(features), self.sharpness.exp()
        pooled = ((hidden * sharpness).logsumexp(dim=0) - math.log(len(hidden))) / sharpness
        return functional.normalize(self.output(pooled), dim=0)

    def contrast(
        self,
        images: Float[Tensor, "i e"],
        scene: Float[Tensor, " e"],
        others: Float[Tensor, "s e"],
    ) -> Float[Tensor, ""]:
        """InfoNCE (van den Oord et al., arXiv 1807.03748, equation 4): photographs must pick their scene out of others.

        Args:
            images: embeddings of photographs of the scene.
            scene: its embedding.
            others: embeddings of other scenes; they get no gradient.
        """
        candidates = torch.cat([scene[None], others.detach()])
        scores = images @ candidates.T / self.temperature.exp().clamp(min=0.02)
        target: Int[Tensor, " i"] = torch.zeros(len(images), dtype=torch.long, device=images.device)
        return functional.cross_entropy(scores, target)
