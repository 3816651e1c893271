"""How well features answer text queries."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

_SHORTEST = 1e-12


def relevancy(
    features: Float[Tensor, "*bs dim"],
    phrases: Float[Tensor, "p dim"],
    canonical: Float[Tensor, "c dim"],
    temperature: float = 10.0,
) -> Float[Tensor, "*bs p"]:
    """LERF's relevancy score (Kerr et al., ICCV 2023) of every feature for every phrase, each phrase on its own.

    min over canonical phrases c of softmax(temperature * [cos(f, q), cos(f, c)])[0]. A softmax of two is a sigmoid of
    the difference, which is smallest for the canonical phrase with the largest cosine.

    Args:
        features: any scale; a zero vector scores 0.5.
        phrases: embeddings of the queries.
        canonical: embeddings of neutral phrases, at least one.
        temperature: the factor on cosines; language teachers know theirs (`relevancy_temperature`).

    Returns:
        Scores in 0..1; above 0.5 the query beats every canonical phrase.
    """
    flat = features.flatten(0, -2) if features.ndim > 1 else features[None]
    words = functional.normalize(torch.cat([phrases, canonical]), dim=1)
    # Many features are read twice here and written nowhere, and the largest is taken along what lies apart in memory.
    cosines = words @ flat.T / flat.norm(dim=1).clamp(min=_SHORTEST)
    scores = relevancy_of_cosines(cosines, len(phrases), temperature)
    return scores.T.reshape(*features.shape[:-1], len(phrases))


def relevancy_of_cosines(cosines: Float[Tensor, "w n"], phrases: int, temperature: float) -> Float[Tensor, "p n"]:
    """The same where cosines are known.

    Args:
        cosines: of phrases, and after them of canonical ones, with features.
        phrases: how many of them are asked.
        temperature: the factor on cosines.
    """
    asked, neutral = cosines[:phrases], cosines[phrases:]
    return (temperature * (asked - neutral.amax(dim=0))).sigmoid()
