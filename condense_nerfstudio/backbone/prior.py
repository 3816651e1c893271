"""Features of a scene in training that start from a backbone."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from torch import Tensor

from condense_nerfstudio.backbone.backbone_file import find_backbone, open_backbone
from condense_nerfstudio.backbone.octree import to_nodes
from condense_nerfstudio.backbone.settings import VolumeConfig
from condense_nerfstudio.backbone.volume import VolumeCard
from condense_nerfstudio.backbone.volume_making import make_volume
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.model import CondenseModel
from condense_nerfstudio.scene.node_grid import FeaturePrior, NodeGrid


class Starter:
    """Gives a scene in training what a backbone says of its geometry.

    Args:
        name: of a backbone that ships, or its file.
        model: of the scene, with heads of its own.

    Raises:
        UserError: there is no such backbone, or it learned from other teachers.
    """

    def __init__(self, name: str, model: CondenseModel) -> None:
        self._joint, self._card = open_backbone(find_backbone(name), model.device)
        known = {card.name: card for card in self._card.teachers}
        if list(known) != list(model.heads):
            raise UserError(
                f"Backbone {name} learned from {', '.join(known)}, and this training has {', '.join(model.heads)}: set "
                "--pipeline.datamanager.visual.name and .language.name to the backbone's."
            )
        for teacher, card in known.items():
            own = model.head(teacher)
            if own.revision != card.revision:
                raise UserError(
                    f"Backbone {name} learned from another {teacher} (revision {card.revision}, here {own.revision}): "
                    "use the weights and options that it names, or train a backbone with yours."
                )

    @torch.no_grad()
    def start(self, model: CondenseModel, cameras: Cameras) -> None:
        """Sets the model's prior, from its geometry as it is now.

        Args:
            model: of the scene.
            cameras: its training cameras.

        Raises:
            UserError: the geometry is empty or not a number.
        """
        assert model.feature_field is not None
        settings = VolumeConfig(resolution=self._card.resolution)
        unknown = tuple(map(tuple, np.eye(4).tolist()))  # the volume is not kept, and nobody reads its card
        card = VolumeCard("condense", "in training", unknown, settings.least_weight, settings.rays)
        model.eval()  # not at_rest: the caller is a training step
        volume = make_volume(model, cameras.to(model.device), card, settings)
        model.train()
        features = self._joint(to_nodes(volume, device=model.device))
        low = features.values[:, :-1]  # the last is the key-point head's
        grid = NodeGrid(
            nodes=features.nodes.places(),
            values=torch.cat([low, low.new_ones(len(low), 1)], dim=1),
            origin=volume.origin.to(model.device),
            spacing=torch.tensor(2.0 * volume.side, device=model.device),
            resolution=torch.tensor(2**features.nodes.depth),
        )
        model.prior = FeaturePrior(grid, self._decoders(model))
        model.feature_field.silence()

    def _decoders(self, model: CondenseModel) -> dict[str, Float[Tensor, "c low"]]:
        """From the channels of all teachers, and a one, to features centred as the scene centres them."""
        widths = [self._joint.head(card.name).decoder.in_features for card in self._card.teachers]
        decoders, first = {}, 0
        for card, width in zip(self._card.teachers, widths, strict=True):
            shared, own = self._joint.head(card.name), model.head(card.name)
            decoder = own.mean.new_zeros(own.dim, sum(widths) + 1)
            decoder[:, first : first + width] = shared.decoder.weight * (shared.scale / own.scale)
            decoder[:, -1] = (shared.mean - own.mean) / own.scale
            decoders[card.name] = decoder
            first += width
        return decoders
