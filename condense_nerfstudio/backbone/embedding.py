"""One vector for a scene, and one for a photograph, in one space: for finding the scene that a photograph shows."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_START_TEMPERATURE = 0.05
_LEAST_TEMPERATURE = 0.01
_LEAST_SHARE = 1e-6


class Embedding(nn.Module):
    """How often each word of a visual vocabulary occurs; the same for nodes of a scene and for cells of a photograph.

    An element of a set (a node, a cell) is assigned to words softly, by a linear function of its colour and its
    features. At the start the words are a grid of colours, which alone finds nine of ten photographs of demo rooms;
    training moves them to what tells scenes apart. The embedding is the root of the words' shares (so that products are
    Bhattacharyya coefficients), weighted by how much a word says.

    Args:
        dim: channels of the features, all teachers together.
        tones: words a colour channel at the start; their cube is the length of the embedding.
    """

    def __init__(self, dim: int, tones: int) -> None:
        super().__init__()
        self.words = nn.Linear(3 + dim, tones**3)
        self.importance = nn.Parameter(torch.zeros(tones**3))
        self.temperature = nn.Parameter(torch.tensor(math.log(_START_TEMPERATURE)))
        axis = (torch.arange(tones) + 0.5) / tones
        colors = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).reshape(-1, 3)
        sharpness = 4.0 * tones**2  # a word ends where the next begins
        with torch.no_grad():
            # -sharpness |x - c|^2, without |x|^2, which is the same for all words.
            self.words.weight.zero_()
            self.words.weight[:, :3] = 2.0 * sharpness * colors
            self.words.bias.copy_(-sharpness * colors.square().sum(dim=1))

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.words.out_features

    def forward(self, colors: Float[Tensor, "n 3"], features: Float[Tensor, "n c"]) -> Float[Tensor, " e"]:
        """The embedding of a set, of length one.

        Args:
            colors: in 0..1.
            features: centred.
        """
        shares = self.words(torch.cat([colors, features], dim=1)).softmax(dim=1).mean(dim=0)
        return functional.normalize(self.importance.exp() * (shares + _LEAST_SHARE).sqrt(), dim=0)

    def contrast(
        self, images: Float[Tensor, "i e"], scene: Float[Tensor, " e"], others: Float[Tensor, "s e"]
    ) -> Float[Tensor, ""]:
        """InfoNCE (van den Oord et al., arXiv 1807.03748, equation 4): photographs must pick their scene out of others.

        Args:
            images: embeddings of photographs of the scene.
            scene: its embedding.
            others: embeddings of other scenes; they get no gradient.
        """
        candidates = torch.cat([scene[None], others.detach()])
        scores = images @ candidates.T / self.temperature.exp().clamp(min=_LEAST_TEMPERATURE)
        return functional.cross_entropy(scores, torch.zeros(len(images), dtype=torch.long, device=images.device))
