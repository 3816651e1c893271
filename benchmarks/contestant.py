"""A method in a process of its own, trained step by step on request, so that several can take turns."""

from __future__ import annotations

import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

WARM_UP = 2
"""Untimed turns, in which kernels are compiled or loaded and memory grows to its size."""


class Contestant:
    """Starts a process and asks it for work. Between its turns the process sleeps.

    Args:
        maker: name of a function of stock.py that makes the method's configuration.
        options: its arguments.
        data: the capture.
        output: folder for what a training writes.
    """

    def __init__(self, maker: str, options: dict[str, Any], data: Path, output: Path) -> None:
        # Spawned, not forked: what one side does to its process (memory settings, say) must not reach the other.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, maker, options, data, output), daemon=True)
        self._process.start()

    def ask(self, work: str, *arguments: Any) -> Any:
        """Has a method of :class:`Worker` called; returns its result."""
        self._pipe.send((work, arguments))
        result = self._pipe.recv()
        if isinstance(result, Exception):
            raise result
        return result

    def leave(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.join()


class Worker:
    """What runs in the process of a contestant."""

    def __init__(self, maker: str, options: dict[str, Any], data: Path, output: Path) -> None:
        import stock

        config = stock.on_capture(getattr(stock, maker)(**options), data, output / maker)
        config.pipeline.datamanager.dataparser.downscale_factor = 4
        self.imported_mb = _peak_mb()
        self.trainer = config.setup(local_rank=0, world_size=1)
        self.trainer.setup()
        self.rays = config.pipeline.datamanager.train_num_rays_per_batch
        self.step = 0

    def train(self, steps: int) -> float:
        """Seconds a step, over so many steps."""
        from nerfstudio.engine.callbacks import TrainingCallbackLocation as Location

        self.trainer.pipeline.train()
        start = time.perf_counter()
        for _ in range(steps):
            self._call_back(Location.BEFORE_TRAIN_ITERATION)
            self.trainer.train_iteration(self.step)
            self._call_back(Location.AFTER_TRAIN_ITERATION)
            self.step += 1
        return (time.perf_counter() - start) / steps

    def _call_back(self, location: Any) -> None:
        for callback in self.trainer.callbacks:
            callback.run_callback_at_location(self.step, location)

    def train_for(self, seconds: float) -> int:
        """Trains until the time is over; returns the step."""
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            self.train(1)
        return self.step

    def render(self, width: int | None = None, height: int | None = None) -> float:
        """Seconds for a held-out view with all its outputs, at its own size or at another."""
        import torch

        self.trainer.pipeline.eval()
        camera = self.trainer.pipeline.datamanager.eval_dataset.cameras[:1]
        if width is not None and height is not None:
            camera.rescale_output_resolution(torch.tensor([[height / camera.height.item()]]))
            camera.width[:], camera.height[:] = width, height
        start = time.perf_counter()
        with torch.no_grad():
            self.trainer.pipeline.model.get_outputs_for_camera(camera)
        return time.perf_counter() - start

    def psnr(self) -> float:
        """Mean PSNR over the held-out views."""
        self.trainer.pipeline.eval()
        return float(self.trainer.pipeline.get_average_eval_image_metrics()["psnr"])

    def memory(self) -> dict[str, float]:
        """Peak of resident memory in MB: after the imports, and until now."""
        return {"imports_mb": self.imported_mb, "peak_mb": _peak_mb()}

    def rays_per_step(self) -> int:
        """Rays a training step."""
        return self.rays

    def sizes(self) -> dict[str, Any]:
        """What a training step of ours has to compute, for the limits of limits.py."""
        model = self.trainer.pipeline.model
        config, proposal = model.config, model.proposal_networks[0]
        layers = [*model.field.base.weights, model.field.color_from_geometry.weight, *model.field.color.weights]
        return {
            "proposal_points": self.rays * sum(config.num_proposal_samples_per_ray),
            "field_points": self.rays * config.num_nerf_samples_per_ray,
            "proposal_levels": len(proposal.grid.levels),
            "field_levels": len(model.field.grid.levels),
            "proposal_weights": sum(weight.numel() for weight in proposal.network.weights),
            "field_weights": sum(weight.numel() for weight in layers),
            "proposal_updates": 0.5,  # at the start of its schedule the sampler learns every second step
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }

    def limits(self) -> dict[str, float]:
        """The machine's limits, measured in this process."""
        from limits import machine_limits

        return machine_limits()

    def operations(self, steps: int) -> dict[str, float]:
        """Milliseconds a step spent in each operation itself, over so many training steps."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            self.train(steps)
        return {event.key: event.self_cpu_time_total / 1000 / steps for event in profiler.key_averages()}


def in_turns(work: Sequence[Callable[[], float]], rounds: int) -> list[float]:
    """Median of what each returns, called one after the other in every round, so that all meet the same machine."""
    for task in work:
        for _ in range(WARM_UP):
            task()
    times = [[task() for task in work] for _ in range(rounds)]
    return [median(column) for column in zip(*times, strict=True)]


def _serve(pipe: Any, maker: str, options: dict[str, Any], data: Path, output: Path) -> None:
    warnings.filterwarnings("ignore")
    try:
        worker = Worker(maker, options, data, output)
    except Exception as error:
        pipe.recv()
        pipe.send(error)
        return
    while True:
        work, arguments = pipe.recv()
        try:
            pipe.send(getattr(worker, work)(*arguments))
        except Exception as error:
            pipe.send(error)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
