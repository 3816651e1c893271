"""What each stage of cross-scene training costs, and how that grows with resolution and ranks.

    python benchmarks/backbone_speed.py --config SCENE/config.yml --capture CAPTURE --scenes O/scenes --output-dir T

--config is a trained NeRF, --capture a capture for stage one, and --scenes a folder of volumes and views that `condense
pretrain` has left. Medians; run it alone on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch
from limits import median_seconds

from condense_nerfstudio.files import write_json

REPEATS = 5
STEPS = 12


def parts(config: Path, resolution: int) -> dict[str, float]:
    """Seconds of a volume, of the network forward, and of forward and backward."""
    from condense_nerfstudio.backbone.backbone_file import find_backbone, open_backbone
    from condense_nerfstudio.backbone.nerf import load_nerf
    from condense_nerfstudio.backbone.octree import to_nodes
    from condense_nerfstudio.backbone.preparation import volume_of
    from condense_nerfstudio.backbone.settings import VolumeConfig

    nerf = load_nerf(config)
    model, _ = open_backbone(find_backbone("lite"))
    volume = volume_of(nerf, VolumeConfig(resolution=resolution))
    nodes = to_nodes(volume)
    nodes.neighbours(nodes.depth)

    def forward() -> None:
        with torch.no_grad():
            model(nodes)

    def both() -> None:
        model.requires_grad_(True)
        model(nodes).values.sum().backward()

    return {
        "cells": len(volume.cells),
        "nodes": len(nodes.inputs),
        "volume": median_seconds(lambda: volume_of(nerf, VolumeConfig(resolution=resolution)), 3),
        "octree": median_seconds(lambda: to_nodes(volume), REPEATS),
        "network": median_seconds(forward, REPEATS),
        "network forward and backward": median_seconds(both, REPEATS),
    }


def embed_seconds(config: Path, resolution: int, output: Path) -> dict[str, float]:
    """Seconds that `condense embed` says of its parts, and from the command to its end."""
    started = time.monotonic()
    command = ["condense", "embed", "--load-config", config, "--output-dir", output, "--overwrite", "--resolution"]
    done = subprocess.run([*command, str(resolution), "--json"], check=True, capture_output=True, text=True)
    seconds = json.loads(done.stdout)["seconds"]
    return {**seconds, "after loading": sum(seconds.values()), "from the command": time.monotonic() - started}


def nerf_seconds(capture: Path, output: Path, steps: int) -> float:
    """Seconds of stage one for a scene."""
    from condense_nerfstudio.backbone.fleet import Job, train_nerfs
    from condense_nerfstudio.backbone.settings import FleetConfig

    started = time.monotonic()
    job = Job("speed", capture.absolute(), output.absolute(), FleetConfig(steps=steps))
    assert not train_nerfs([job], 1, lambda name, reason: None)
    return time.monotonic() - started


def step_seconds(captures: Path, scenes: Path, output: Path, ranks: int) -> dict[str, float]:
    """Median seconds of a training step of two scenes under torchrun, and the memory of its largest process.

    The ranks share the machine's cores.
    """
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    (output / "scenes").symlink_to(scenes.absolute())
    (output / "nerfs").symlink_to(scenes.absolute().parent / "nerfs")
    threads = str((os.cpu_count() or 1) // ranks)
    command = [
        "torchrun", "--standalone", "--nproc-per-node", str(ranks), "--no-python", "condense", "pretrain", "--scenes",
        captures, "--output-dir", output, "--training.steps", str(STEPS), "--training.scenes-per-step", "2", "--json",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    times = [event.wall_time for event in events.Scalars("losses/loss")]
    gaps = [b - a for a, b in pairwise(times)]
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"step": median(gaps), "largest process so far, MB": memory}


def scene_memory(folders: Sequence[Path]) -> dict[str, float]:
    """Private megabytes that a few and all opened scenes take, after every array and tensor of them was read."""
    from condense_nerfstudio.backbone.scenes import open_scene
    from condense_nerfstudio.teachers.cache import default_cache_root
    from condense_nerfstudio.teachers.config import TeacherConfig
    from condense_nerfstudio.teachers.registry import load_teacher

    teachers = [load_teacher(TeacherConfig(name=name), "cpu") for name in ("efficientnet", "conse")]
    opened, used = [], {}
    few = len(folders) // 4
    before = 0.0
    for number, folder in enumerate(folders, start=1):
        scene = open_scene(folder, teachers, None, default_cache_root())
        opened.append(scene)
        float(scene.volume.thickness.float().sum() + scene.volume.cells.sum() + scene.volume.colors.sum())
        for maps in scene.maps.values():
            for one in maps:
                float(one.sum())
        if number == 1:
            before = _private_mb()  # libraries, and what is allocated once
        if number in (few, len(folders)):
            used[str(number)] = _private_mb() - before
    return used


def _private_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return float(status.split("RssAnon:")[1].split()[0]) / 1024


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--capture", type=Path, required=True)
    parser.add_argument("--captures", type=Path, required=True, help="the captures of the volumes in --scenes")
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/backbone_speed.json"))
    arguments = parser.parse_args()
    importlib.import_module("condense_nerfstudio.plugin")
    from condense_nerfstudio.cpu import prepare_cpu

    prepare_cpu()
    steps = {ranks: step_seconds(arguments.captures, arguments.scenes, arguments.output_dir / f"ranks{ranks}", ranks)
             for ranks in (1, 2)}  # fmt: skip
    result = {
        "private MB by opened scenes": scene_memory(sorted(f.parent for f in arguments.scenes.glob("*/views.json"))),
        "ranks": steps,
        "embed": {r: embed_seconds(arguments.config, r, arguments.output_dir / "embedded") for r in (64, 128)},
        "parts": {r: parts(arguments.config, r) for r in (64, 128)},
        "nerf": nerf_seconds(arguments.capture, arguments.output_dir / "nerfs", 1000),
    }
    result["scenes an hour"] = {
        "nerfs": 3600 / result["nerf"],
        "volumes": 3600 / result["parts"][128]["volume"],
        "training, visits": 2 * 3600 / steps[1]["step"],
    }
    write_json(arguments.output, result)
    print(json.dumps(result), file=sys.stdout)


if __name__ == "__main__":
    main()
