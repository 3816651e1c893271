"""The pipeline of a scene whose features may start from a backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from condense_nerfstudio.scene.pipeline import CondensePipeline, CondensePipelineConfig, user_errors_exit

if TYPE_CHECKING:
    from condense_nerfstudio.backbone.prior import Starter


class StartedPipeline(CondensePipeline):
    """What :class:`CondensePipeline` is; with `--pipeline.model.backbone`, features start from a backbone.

    The geometry comes first. Where features begin to be trained, the scene's volume is made once, and what the backbone
    says of it is kept in the checkpoint.
    """

    starter: Starter | None = None

    def __init__(self, config: CondensePipelineConfig, device: torch.device | str, **kwargs: Any) -> None:
        super().__init__(config, device, **kwargs)
        # A checkpoint that is only looked at holds what the backbone said.
        if config.model.backbone is not None and len(self.model.heads):
            from condense_nerfstudio.backbone.prior import Starter  # late: every ns-* command loads this module

            with user_errors_exit():
                self.starter = Starter(config.model.backbone, self.model)

    def get_train_loss_dict(self, step: int) -> Any:
        """A training step; before the first one with features, the backbone is asked."""
        if self.starter is not None and self.model.prior is None and step >= self.config.model.feature_start:
            with user_errors_exit():
                self.starter.start(self.model, self.datamanager.train_dataset.cameras)
        return super().get_train_loss_dict(step)
