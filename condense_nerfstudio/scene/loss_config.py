"""How losses are weighed; light, so that the help of commands is there at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class FeatureLossConfig:
    """How the feature losses are weighed and shaped."""

    consistency: float = 1.0
    """Weight of the distance between the rendered 3D feature and the adapted 2D feature; trains both branches."""
    anchor_2d: float = 0.5
    """Weight of the distance between the adapted 2D feature and the frozen teacher's; without it both branches
    collapse."""
    anchor_3d: float = 1.0
    """Weight of the distance between the rendered 3D feature and the frozen teacher's."""
    contrast: float = 0.5
    """Weight of the contrast between the branches, which keeps features of different places apart."""
    contrast_temperature: float = 0.05
    """Temperature of the contrast; the lower, the more it cares about the most similar other places."""
    contrast_reach: float = 1.5
    """Places nearer to each other than so many cells of the teacher are not told apart by the contrast."""
    contrast_rays: int = 512
    """Rays a step that are contrasted with each other; the cost grows with the square."""
    whole_cells: bool = False
    """Read the 2D branch in the cell of a pixel instead of between the centres of cells. Its features are then found
    again more often in other photographs, and rendered features follow the teacher a little less."""


@dataclass
class KeypointLossConfig:
    """How the key-point losses are weighed."""

    detection: float = 1.0
    """Weight of the focal loss between each head and the detector's heat map."""
    agreement: float = 0.5
    """Weight of the focal loss of each head against the other's answer."""
