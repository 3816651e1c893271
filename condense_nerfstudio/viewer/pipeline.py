"""The pipeline with controls for nerfstudio's viewer."""

from __future__ import annotations

from typing import Any

import torch

from condense_nerfstudio.backbone.pipeline import StartedPipeline
from condense_nerfstudio.scene.pipeline import CondensePipelineConfig


class ViewedPipeline(StartedPipeline):
    """What :class:`StartedPipeline` is, and a panel that nerfstudio's viewer finds among its attributes."""

    def __init__(self, config: CondensePipelineConfig, device: torch.device | str, **kwargs: Any) -> None:
        super().__init__(config, device, **kwargs)
        from condense_nerfstudio.viewer.panel import Panel  # late: every ns-* command loads this module

        self.panel = Panel(self)
        self.viewer_control = self.panel.session.control
