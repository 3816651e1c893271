"""Settings of the process for training on a CPU."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from condense_nerfstudio.scene.adam import Adam

FAULTS = """
import resource, torch
from condense_nerfstudio.cpu import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(4_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
plain = faults()
assert keep_freed_memory()
faults()
print(plain, faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is glibc's")
def test_freed_memory_is_used_again() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    assert kept < plain / 10


def test_adam_is_pytorchs() -> None:
    torch.manual_seed(0)
    ours, theirs = nn.Linear(30, 20), nn.Linear(30, 20)
    theirs.load_state_dict(ours.state_dict())
    options: dict[str, Any] = {"lr": 1e-2, "eps": 1e-15, "weight_decay": 0.0}
    optimizers = Adam(ours.parameters(), **options), torch.optim.Adam(theirs.parameters(), **options)
    for _ in range(20):
        inputs = torch.randn(8, 30)
        for model, optimizer in zip((ours, theirs), optimizers, strict=True):
            optimizer.zero_grad()
            model(inputs).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-4, atol=1e-5)
    assert optimizers[0].defaults["fused"]


def test_adam_goes_on_from_an_older_checkpoint() -> None:
    old, new = nn.Linear(3, 2), nn.Linear(3, 2)
    before = torch.optim.Adam(old.parameters(), lr=1e-2)
    old(torch.ones(1, 3)).sum().backward()
    before.step()
    after = Adam(new.parameters(), lr=1e-2)
    after.load_state_dict(before.state_dict())
    new(torch.ones(1, 3)).sum().backward()
    after.step()
    assert after.state[new.weight]["step"] == 2
