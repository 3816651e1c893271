"""The feature losses of one training step: both branches at the pixels for which the teachers' maps are at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from condense_nerfstudio.scene.data_manager import FeatureTarget
from condense_nerfstudio.scene.heads import TeacherHead
from condense_nerfstudio.scene.keypoint_head import KeypointMapHead, keypoint_losses
from condense_nerfstudio.scene.loss_config import FeatureLossConfig, KeypointLossConfig
from condense_nerfstudio.scene.losses import contrastive_loss, distance_losses
from condense_nerfstudio.scene.surface import Surface
from condense_nerfstudio.teachers.sampling import bilinear_weights, sample_bilinear, weighted_rows


@dataclass
class BranchMaps:
    """One teacher's maps of a step's images, centred, in batches of maps of one size."""

    teacher: list[Float[Tensor, "_ _ _ c"]]
    """F, the frozen teacher."""
    adapted: list[Float[Tensor, "_ _ _ c"]]
    """G, the 2D branch."""


def branch_maps(
    heads: Mapping[str, TeacherHead],
    targets: Sequence[FeatureTarget],
    tuned: Mapping[str, list[Float[Tensor, "_ _ c"]]] | None = None,
) -> dict[str, BranchMaps]:
    """Runs the 2D branch of every teacher on the maps of the targets.

    Args:
        heads: by teacher.
        targets: whose maps.
        tuned: what teachers that are trained too say of the targets' images now, by teacher: the 2D branch of these
            is run on it instead.
    """
    maps = {}
    for name, head in heads.items():
        centred = [head.center(batch) for batch in _batches([target.maps[name] for target in targets])]
        seen = centred
        if tuned and name in tuned:
            seen = [head.center(batch) for batch in _batches(tuned[name])]
        maps[name] = BranchMaps(centred, [head.adapter(batch) for batch in seen])
    return maps


def feature_losses(
    maps: Mapping[str, BranchMaps],
    rendered: Mapping[str, Float[Tensor, "rays c"]],
    targets: Sequence[FeatureTarget],
    surface: Surface,
    config: FeatureLossConfig,
) -> dict[str, Float[Tensor, ""]]:
    """Consistency, anchors and contrast of every teacher, weighted, as `<teacher>_<term>`.

    Features are read at a ray's pixel, between the centres of cells; the 2D branch, if the configuration says so, in
    the cell that the pixel lies in. Cells are what is matched in the end, those of two views miss each other by up to
    half a cell, and a cell that must speak for all its pixels learns to bear that.

    Args:
        maps: the 2D branch, by teacher.
        rendered: R(r), the 3D branch, centred, by teacher.
        targets: whose rays these are, in this order.
        surface: where the rays meet the scene.
        config: how much each term counts.
    """
    met = surface.found.nonzero()[:, 0]
    contrasted = met[torch.randperm(len(met), device=met.device)[: config.contrast_rays]]
    losses = {}
    for name, branch in maps.items():
        sizes = [target.maps[name] for target in targets]
        cells, weights = _cells_at_pixels(sizes, targets)
        teacher = weighted_rows(_all_cells(branch.teacher), cells, weights)
        if config.whole_cells:
            nearest = cells.gather(1, weights.argmax(dim=1, keepdim=True))[:, 0]
            adapted = _all_cells(branch.adapted).index_select(0, nearest)
        else:
            adapted = weighted_rows(_all_cells(branch.adapted), cells, weights)
        terms = distance_losses(rendered[name], adapted, teacher, config)
        reach = config.contrast_reach * _cell_sides(sizes, targets) * surface.pixel_size
        # index_select, since the gradient of plain indexing is slow.
        own, other = (features.index_select(0, contrasted) for features in (rendered[name], adapted))
        points, reach = surface.points[contrasted], reach[contrasted]
        contrast = contrastive_loss(own, other, points, reach, config.contrast_temperature)
        terms["contrast"] = config.contrast * contrast
        losses.update({f"{name}_{term}": value for term, value in terms.items()})
    return losses


def keypoint_step_losses(
    head: KeypointMapHead,
    maps: BranchMaps,
    rendered: Float[Tensor, " rays"],
    targets: Sequence[FeatureTarget],
    config: KeypointLossConfig,
) -> dict[str, Float[Tensor, ""]]:
    """The losses of both key-point heads, by name.

    The 2D head reads the consistent features without bending them: corners are not what features are for.

    Args:
        head: the 2D head.
        maps: of the teacher that the 2D head reads.
        rendered: K(r), the 3D head.
        targets: whose rays these are, in this order.
        config: how much each term counts.
    """
    answers = [answer for batch in maps.adapted for answer in head(batch.detach())]
    predicted, heat = [], []
    for answer, target in zip(answers, targets, strict=True):
        assert target.heat is not None
        for values, found in ((answer, predicted), (target.heat, heat)):
            found.append(sample_bilinear(values[..., None], target.pixels, target.image_size)[:, 0])
    return keypoint_losses(rendered, torch.cat(predicted), torch.cat(heat), config)


def _batches(maps: list[Tensor]) -> list[Float[Tensor, "_ _ _ c"]]:
    """All maps as one batch where they are of one size; otherwise a batch of each."""
    if len({feature_map.shape for feature_map in maps}) == 1:
        return [torch.stack(maps)]
    return [feature_map[None] for feature_map in maps]


def _all_cells(batches: list[Tensor]) -> Float[Tensor, "cells c"]:
    """The cells of all maps, one map after another."""
    tables = [batch.flatten(0, 2) for batch in batches]
    return tables[0] if len(tables) == 1 else torch.cat(tables)


def _cells_at_pixels(
    maps: list[Tensor], targets: Sequence[FeatureTarget]
) -> tuple[Int[Tensor, "rays 4"], Float[Tensor, "rays 4"]]:
    """The cells around every ray's pixel, as rows of all cells, and their bilinear weights."""
    cells, weights, first = [], [], 0
    for feature_map, target in zip(maps, targets, strict=True):
        rows, columns = feature_map.shape[:2]
        own, shares = bilinear_weights((rows, columns), target.pixels, target.image_size)
        cells.append(own + first)
        weights.append(shares)
        first += rows * columns
    return torch.cat(cells), torch.cat(weights)


def _cell_sides(maps: list[Tensor], targets: Sequence[FeatureTarget]) -> Float[Tensor, " rays"]:
    """Longer side, in the image's pixels, of the teacher's cells at every ray of the targets."""
    pairs = zip(maps, targets, strict=True)
    sides = [max(n / cells for n, cells in zip(t.image_size, m.shape, strict=False)) for m, t in pairs]
    counts = torch.tensor([len(target.pixels) for target in targets])
    return torch.tensor(sides).repeat_interleave(counts).to(targets[0].pixels.device)
