"""Stage one of cross-scene training on many machines: every NeRF a task of a Ray cluster."""

from __future__ import annotations

import logging
import os
import platform
import socket
from collections.abc import Sequence

from condense_nerfstudio.backbone.fleet import Job, Processes, Report, run_job
from condense_nerfstudio.errors import UserError

_POLL = 1.0
"""Seconds between two looks at the cluster: Ctrl-C is heard between them."""
_PATIENCE = 10.0
"""Seconds until a cluster must answer."""
_FAREWELL = 10.0
"""Seconds that tasks have to end their processes when all is called off."""


def train_nerfs_on_ray(jobs: Sequence[Job], report: Report) -> dict[str, str]:
    """Trains the NeRFs that are not there yet, on a running cluster.

    A NeRF whose machine dies is taken up again on another from its last checkpoint; one that fails by itself is not.

    Args:
        jobs: the NeRFs; their folders are shared by all machines.
        report: told of every scene that has ended.

    Returns:
        The reasons of the scenes that failed.

    Raises:
        UserError: Ray is not installed, or no cluster answers.
    """
    try:
        import ray
    except ImportError as error:
        raise UserError(
            "--launcher ray needs Ray: pip install 'condense_nerfstudio[ray]', or use --launcher local."
        ) from error
    try:
        _knock(os.environ.get("RAY_ADDRESS", ""))
        ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(
            f"No Ray cluster answers ({str(error).splitlines()[0]}): start one with `ray start --head`, "
            "set RAY_ADDRESS, or use --launcher local."
        ) from error
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    tasks = {}
    for job in jobs:
        config = job.config
        options = {"num_cpus": config.cores, "num_gpus": gpus, "max_retries": config.retries, "name": job.name}
        tasks[ray.remote(**options)(_train).remote(job)] = job.name
    failed: dict[str, str] = {}
    waiting = list(tasks)
    try:
        while waiting:
            done, waiting = ray.wait(waiting, timeout=_POLL)
            for task in done:
                reason = _reason(task)
                if reason is not None:
                    failed[tasks[task]] = reason
                report(tasks[task], reason)
    finally:
        for task in waiting:
            ray.cancel(task)
        if waiting:
            ray.wait(waiting, num_returns=len(waiting), timeout=_FAREWELL)
        ray.shutdown()
    return failed


def _knock(address: str) -> None:
    """Raises OSError where nobody listens at HOST:PORT: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        with socket.create_connection((host, int(port)), timeout=_PATIENCE):
            pass


def _train(job: Job) -> str | None:
    """What a machine of the cluster does; returns why it failed, if it did."""
    if not job.capture.is_dir():
        return f"{platform.node()} does not see {job.capture}: the cluster's machines must share the captures' folders"
    with Processes() as processes:
        return run_job(job, job.config.cores, processes)


def _reason(task: object) -> str | None:
    """Why a task failed, if it did."""
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(task)  # pyright: ignore[reportCallIssue, reportArgumentType]
    except RayError as error:
        return f"the cluster gave it up ({str(error).splitlines()[0]})"
