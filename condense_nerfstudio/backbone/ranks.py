"""Several processes that train one backbone, as torchrun starts them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

_PATIENCE = timedelta(days=7)
"""How long ranks wait for each other: the first trains all NeRFs meanwhile. torchrun ends all when one dies."""


@dataclass(frozen=True)
class Ranks:
    """This process among all that train together; alone, nothing is exchanged."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            distributed.barrier()

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Adds the gradients of all ranks, in one message; a parameter that has one on no rank keeps none."""
        if self.size == 1:
            return
        known = list(parameters)
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in known]
        present = torch.tensor([float(p.grad is not None) for p in known], device=known[0].device)
        flat = torch.cat([present, *(part.flatten() for part in parts)])
        distributed.all_reduce(flat)
        present, *sums = flat.split([len(known), *(p.numel() for p in known)])
        for parameter, anywhere, total in zip(known, present.tolist(), sums, strict=True):
            parameter.grad = total.view_as(parameter) if anywhere else None

    def gathered(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What all ranks have, by name; ranks are taken in order."""
        if self.size == 1:
            return dict(values)
        parts: list[Any] = [None] * self.size
        distributed.all_gather_object(parts, dict(values))
        return {name: value for part in parts for name, value in part.items()}

    def from_first(self, value: Any) -> Any:
        """The first rank's value, on all of them."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]


@contextmanager
def started_ranks() -> Iterator[Ranks]:
    """The ranks that torchrun has started, or this process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=_PATIENCE)
    try:
        yield Ranks(distributed.get_rank(), size)
    finally:
        distributed.destroy_process_group()
