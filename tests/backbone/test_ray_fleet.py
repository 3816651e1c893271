"""Stage one on a Ray cluster: two nodes on loopback, one of them killed in the middle."""

from __future__ import annotations

import builtins
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from condense_nerfstudio.backbone.fleet import Job
from condense_nerfstudio.backbone.ray_fleet import train_nerfs_on_ray
from condense_nerfstudio.backbone.settings import FleetConfig
from condense_nerfstudio.errors import UserError


class Fake(Job):
    """Says that it runs, waits for the file `go`, and leaves a checkpoint; a scene called bad fails."""

    def command(self) -> list[str]:
        script = f"""
import os, pathlib, sys, time
folder = pathlib.Path({str(self.folder)!r})
with (folder / "runs").open("a") as runs:
    runs.write({self.name!r} + " " + os.environ["OMP_NUM_THREADS"] + "\\n")
if {self.name!r} == "bad":
    sys.exit("condense: it has no images: add some.")
while not (folder / "go").exists():
    time.sleep(0.1)
checkpoints = pathlib.Path({str(self.checkpoints)!r})
checkpoints.mkdir(parents=True)
(checkpoints / "step-{self.config.steps - 1:09d}.ckpt").write_text("")
"""
        return [sys.executable, "-c", script]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without cores, and two nodes with one each."""
    pytest.importorskip("ray", reason="the ray extra is not installed")
    from ray import cloudpickle
    from ray.cluster_utils import Cluster

    # Workers do not know the tests' modules.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    monkeypatch.setenv("RAY_ADDRESS", str(made.address))
    yield made
    made.shutdown()
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def runs(folder: Path) -> list[str]:
    """The jobs that were begun, in order."""
    file = folder / "runs"
    return file.read_text().splitlines() if file.exists() else []


def until(true: Any) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_node_that_is_killed_costs_no_scene(cluster: Any, tmp_path: Path) -> None:
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    folder = tmp_path / "nerfs"
    jobs = [Fake(name, tmp_path, folder, FleetConfig(steps=3)) for name in ("a", "b", "bad", "c")]
    told: dict[str, str | None] = {}
    answer: dict[str, Any] = {}
    thread = Thread(target=lambda: answer.update(failed=train_nerfs_on_ray(jobs, told.__setitem__)))
    thread.start()
    until(lambda: len(runs(folder)) == 2)  # one on each node
    cluster.remove_node(nodes[1], allow_graceful=False)
    (folder / "go").write_text("")
    thread.join(timeout=120)
    assert not thread.is_alive()
    assert set(answer["failed"]) == {"bad"} and "it has no images: add some. (exit 1; " in told["bad"]  # pyright: ignore
    assert told == {"a": None, "b": None, "c": None, "bad": answer["failed"]["bad"]}
    assert all(job.done for job in jobs if job.name != "bad")
    assert all(line.endswith(" 1") for line in runs(folder))
    # Again: what is done is not done again.
    train_nerfs_on_ray([job for job in jobs if job.name != "bad"], lambda name, reason: None)
    assert len([line for line in runs(folder) if line.startswith("c")]) == 1


def test_a_capture_that_machines_do_not_see_is_named(cluster: Any, tmp_path: Path) -> None:
    cluster.add_node(num_cpus=1)
    job = Fake("a", tmp_path / "elsewhere", tmp_path / "nerfs", FleetConfig(steps=3))
    failed = train_nerfs_on_ray([job], lambda name, reason: None)
    assert "does not see" in failed["a"] and "elsewhere" in failed["a"]


def test_without_a_cluster_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="the ray extra is not installed")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"No Ray cluster answers .*ray start --head"):
        train_nerfs_on_ray([], lambda name, reason: None)


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "ray":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"condense_nerfstudio\[ray\]"):
        train_nerfs_on_ray([], lambda name, reason: None)
