"""`condense pretrain`: a backbone from folders of captures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from condense_nerfstudio.backbone.settings import PretrainConfig


@dataclass(frozen=True)
class Pretrain(PretrainConfig):
    """Trains a backbone on many captures: their NeRFs, a volume of each, then both branches across all of them.

    Killed at any moment, the same command goes on where it was.
    """

    json: bool = False
    """Print the report as one JSON object."""

    def run(self) -> dict[str, Any]:
        """Runs the three stages."""
        from condense_nerfstudio.backbone.pretrain_job import pretrain

        report = pretrain(self)
        if not report:
            raise SystemExit(0)  # one of torchrun's further ranks: the first answers for all
        return report

    def show(self, result: Mapping[str, Any]) -> None:
        """Prints what was learned from, what was left out, and where the backbone is."""
        print(f"{len(result['scenes'])} scenes, {result['steps']} steps, loss {result['losses']['loss']:.3f}")
        for name, reason in result["failed"].items():
            print(f"left out: {name}: {reason}")
        print(result["backbone"])
