"""Features of a scene in training that start from a backbone."""

from __future__ import annotations

import numpy as np
import torch
from nerfstudio.cameras.cameras import Cameras

from condense_nerfstudio.backbone.backbone_file import find_backbone, open_backbone
from condense_nerfstudio.backbone.octree import to_nodes
from condense_nerfstudio.backbone.settings import VolumeConfig
from condense_nerfstudio.backbone.volume import VolumeCard
from condense_nerfstudio.backbone.volume_making import make_volume
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.heads import TeacherHead
from condense_nerfstudio.scene.model import CondenseModel
from condense_nerfstudio.scene.node_grid import NodeGrid


class Starter:
    """Gives a scene the heads of a backbone, and then what the backbone says of its geometry.

    Args:
        name: of a backbone that ships, or its file.
        model: of the scene, with heads of its own.

    Raises:
        UserError: there is no such backbone, or it has other teachers or another feature_dim.
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
            own, shared = model.head(teacher), self._joint.head(teacher)
            if own.revision != card.revision:
                raise UserError(
                    f"Backbone {name} learned from another {teacher} (revision {card.revision}, here {own.revision}): "
                    "use the weights and options that it names, or train a backbone with yours."
                )
            if own.decoder.weight.shape != shared.decoder.weight.shape:
                raise UserError(
                    f"Backbone {name} has features of {shared.decoder.in_features} channels: set "
                    f"--pipeline.model.feature-dim {shared.decoder.in_features}."
                )
            self._adopt(own, shared)

    @staticmethod
    @torch.no_grad()
    def _adopt(own: TeacherHead, shared: TeacherHead) -> None:
        """Takes over all that gives the low-dimensional features their meaning, and the 2D branch if it is as large."""
        own.mean.copy_(shared.mean)
        own.scale.copy_(shared.scale)
        own.decoder.load_state_dict(shared.decoder.state_dict())
        state = shared.adapter.state_dict()
        if {k: v.shape for k, v in own.adapter.state_dict().items()} == {k: v.shape for k, v in state.items()}:
            own.adapter.load_state_dict(state)

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
        prior = NodeGrid(
            nodes=features.nodes.places(),
            values=features.values[:, :-1],  # the last is the key-point head's
            origin=volume.origin.to(model.device),
            spacing=torch.tensor(2.0 * volume.side, device=model.device),
            resolution=torch.tensor(2**features.nodes.depth),
        )
        model.set_prior(prior)
        model.feature_field.silence()
