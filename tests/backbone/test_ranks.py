"""Several ranks: the same training as one, and an end when one of them dies."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from condense_nerfstudio.backbone.pretraining import Pretraining
from condense_nerfstudio.backbone.ranks import Ranks

from .rooms import TRAINING, seen_scene, tuned_model

SCRIPT = """
import json, sys
from pathlib import Path
output, dies = Path(sys.argv[2]), sys.argv[3] == "dies"
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from rooms import TRAINING, seen_scene, tuned_model
from condense_nerfstudio.backbone.pretraining import Pretraining
from condense_nerfstudio.backbone.ranks import started_ranks
with started_ranks() as ranks:
    losses = []
    def report(step, terms):
        losses.append(terms["loss"])
        if dies and ranks.rank == 1 and step == 2:
            sys.exit("rank 1 has no memory left")
    rooms = [seen_scene(i) for i in range(4)]
    training = Pretraining(tuned_model(), rooms, TRAINING, output / "state", ranks)
    training.run(report)
    weights = [p.detach().double().sum().item() for p in training.model.parameters()]
    (output / f"rank{ranks.rank}.json").write_text(json.dumps({"losses": losses, "weights": weights}))
"""


def torchrun(folder: Path, what: str) -> subprocess.CompletedProcess[str]:
    (folder / "train.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(folder / "train.py"), str(Path(__file__).parent), str(folder), what]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_two_ranks_train_what_one_trains(tmp_path: Path) -> None:
    done = torchrun(tmp_path, "lives")
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{i}.json").read_text()) for i in range(2)]
    assert ranks[0] == ranks[1]
    losses: list[float] = []
    alone = Pretraining(tuned_model(), [seen_scene(i) for i in range(4)], TRAINING, tmp_path / "alone")
    alone.run(lambda step, terms: losses.append(terms["loss"]))
    assert ranks[0]["losses"] == pytest.approx(losses, rel=1e-4)
    weights = [p.detach().double().sum().item() for p in alone.model.parameters()]
    assert ranks[0]["weights"] == pytest.approx(weights, rel=1e-3, abs=1e-3)


def test_when_a_rank_dies_all_end_with_its_reason(tmp_path: Path) -> None:
    started = time.monotonic()
    done = torchrun(tmp_path, "dies")
    assert done.returncode != 0 and "rank 1 has no memory left" in done.stderr
    assert time.monotonic() - started < 120 and not (tmp_path / "rank0.json").exists()


def test_one_process_exchanges_nothing() -> None:
    ranks, parameter = Ranks(), torch.nn.Parameter(torch.ones(2))
    ranks.sum_gradients([parameter])
    ranks.wait()
    assert parameter.grad is None and ranks.first
    assert ranks.gathered({"a": 1}) == {"a": 1} and ranks.from_first([2]) == [2]
