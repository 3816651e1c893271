"""What the viewer's pictures show: answers to phrases, similarity to a clicked point, and both over colour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Float
from nerfstudio.utils import colormaps
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.scene.lens import Lens, answer_strength
from condense_nerfstudio.scene.model import CondenseModel

MOST_PHRASES = 8

COLORS = (
    (0.86, 0.18, 0.23), (0.96, 0.55, 0.14), (0.98, 0.80, 0.25), (0.46, 0.70, 0.34),
    (0.33, 0.67, 0.93), (0.67, 0.56, 0.84), (0.76, 0.41, 0.31), (0.90, 0.91, 0.91),
)  # fmt: skip
"""Colour of each phrase's answers, those of :data:`SWATCHES`."""
SWATCHES = "🟥🟧🟨🟩🟦🟪🟫⬜"

Overlay = Literal["answers", "similarity", "nothing"]


@dataclass(frozen=True)
class Probe:
    """A feature that was clicked."""

    teacher: str
    feature: Float[Tensor, " c"]
    """Centred."""


@dataclass(frozen=True)
class Projection:
    """Three principal components of a teacher's features in one view."""

    mean: Float[Tensor, " c"]
    basis: Float[Tensor, "c 3"]
    """Scaled so that most values lie within 0.5 of zero."""

    def colors(self, centred: Float[Tensor, "*bs c"]) -> Float[Tensor, "*bs 3"]:
        """RGB in 0..1."""
        return ((centred - self.mean) @ self.basis + 0.5).clamp(0.0, 1.0)


class ViewOutputs(dict[str, Tensor]):
    """Outputs of one view; colour for an output that it does not have.

    The choice of outputs is one for all browsers: one browser's view may be under way without an output that another's
    just brought, and that is already chosen. A KeyError would end that browser's pictures for good.
    """

    def __missing__(self, key: str) -> Tensor:
        return self["rgb"]


@dataclass(frozen=True)
class ViewerLens(Lens):
    """The viewer's questions."""

    threshold: float = 0.5
    """Relevancy above which a pixel answers a phrase."""
    probe: Probe | None = None
    """What the output `similarity` compares with."""
    projections: Mapping[str, Projection] = field(default_factory=dict)
    """Projections that replace the stored ones, by teacher."""
    overlay: Overlay = "answers"
    """What is shown over colour."""
    opacity: float = 0.7
    """Of the overlay, in 0..1."""

    def look(
        self, model: CondenseModel, rgb: Float[Tensor, "rays 3"], features: Mapping[str, Float[Tensor, "rays _"]]
    ) -> dict[str, Float[Tensor, "rays channels"]]:
        """Beside relevancy_<i>: `answers`, `similarity`, refitted `<teacher>_pca`, and `rgb` under the overlay."""
        outputs = super().look(model, rgb, features)
        layers: dict[Overlay, tuple[Tensor, Tensor]] = {}
        if outputs:
            relevancy = torch.cat(list(outputs.values()), dim=-1)
            layers["answers"] = answer_layer(relevancy, self.threshold)
            outputs["answers"] = blended(rgb.mean(dim=-1, keepdim=True).expand_as(rgb), *layers["answers"], 1.0)
        if self.probe is not None and self.probe.teacher in features:
            similarity = functional.cosine_similarity(features[self.probe.teacher], self.probe.feature, dim=-1)
            outputs["similarity"] = similarity.clamp(0.0, 1.0)[:, None]
            layers["similarity"] = similarity_layer(outputs["similarity"])
        for name, projection in self.projections.items():
            if name in features:
                outputs[f"{name}_pca"] = projection.colors(features[name])
        if self.overlay in layers:
            outputs["rgb"] = blended(rgb, *layers[self.overlay], self.opacity)
        return outputs

    def finish(self, view: dict[str, Float[Tensor, "h w channels"]]) -> dict[str, Float[Tensor, "h w channels"]]:
        """Outputs that nobody has to ask whether they are there."""
        return ViewOutputs(view)


def answer_layer(
    relevancy: Float[Tensor, "n phrases"], threshold: float
) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 1"]]:
    """The colour of the phrase that each pixel answers best, and how strongly it does.

    Args:
        relevancy: of each phrase.
        threshold: see :func:`answer_strength`.
    """
    best, index = relevancy.max(dim=-1, keepdim=True)
    return relevancy.new_tensor(COLORS)[index[:, 0]], answer_strength(best, threshold)


def similarity_layer(similarity: Float[Tensor, "n 1"]) -> tuple[Float[Tensor, "n 3"], Float[Tensor, "n 1"]]:
    """Colour and strength of a cosine in 0..1."""
    return colormaps.apply_float_colormap(similarity, "viridis"), similarity


def blended(
    rgb: Float[Tensor, "n 3"], colors: Float[Tensor, "n 3"], strength: Float[Tensor, "n 1"], opacity: float
) -> Float[Tensor, "n 3"]:
    """A picture with colours over it where they are strong."""
    alpha = opacity * strength
    return (1.0 - alpha) * rgb + alpha * colors


def fitted(centred: Float[Tensor, "n c"]) -> Projection:
    """The three principal components of features; their signs are fixed, so that a second fit gives the same colours.

    Args:
        centred: at least two features.
    """
    mean = centred.mean(dim=0)
    _, deviations, basis = torch.linalg.svd(centred - mean, full_matrices=False)
    basis, deviations = basis[:3].T, deviations[:3] / len(centred) ** 0.5
    strongest = basis.abs().argmax(dim=0)
    basis = basis * basis.gather(0, strongest[None]).sign()
    scaled = basis / (4.0 * deviations).clamp(min=1e-6)
    return Projection(mean, functional.pad(scaled, (0, 3 - scaled.shape[1])))
