"""How well features answer text queries."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional


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
    features = functional.normalize(features, dim=-1)
    query_cosines = features @ functional.normalize(phrases, dim=-1).T
    canonical_cosines = features @ functional.normalize(canonical, dim=-1).T
    return (temperature * (query_cosines - canonical_cosines.amax(-1, keepdim=True))).sigmoid()
