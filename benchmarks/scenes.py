"""Trains condense-lite on real captures and a demo scene, evaluates it, and trains stock nerfacto for as long.

    python benchmarks/scenes.py --data ../shared/data --output benchmarks/results/scenes.json

Every training runs in a process of its own, one after the other. Stock nerfacto uses its torch implementation (there is
no tiny-cuda-nn on a CPU) with small grids and few rays, the best setting found for it on a CPU.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from condense_nerfstudio.files import write_json

DEMO_SEEDS = {"demo": 7, "demo_21": 21, "demo_42": 42}
SCENES = ("fox", "fountain_p11", "7scenes_rgbd", *DEMO_SEEDS)
TRAIN_SPLIT = {"fountain_p11": 0.8}
"""So that two views are held out, which can be compared with each other."""


def capture_options(scene: str, data: Path, work: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a scene and the data parser's options; makes the demo scenes."""
    if scene not in DEMO_SEEDS:
        return data / scene, {"downscale_factor": 4, "train_split_fraction": TRAIN_SPLIT.get(scene, 0.9)}
    folder = work / scene
    if not folder.exists():
        from condense_nerfstudio.demo.generate import Options, generate_scenes

        generate_scenes(folder, Options(count=1, seed=DEMO_SEEDS[scene]))
    return folder / "scene_000", {}


def train(method: str, scene: str, data: Path, work: Path, seconds: float | None) -> dict[str, Any]:
    """Trains one method on one scene in this process and evaluates it."""
    import stock

    config = stock.condense_lite() if method == "condense-lite" else stock.small_nerfacto()
    folder, parser = capture_options(scene, data, work)
    stock.on_capture(config, folder, work / "outputs")
    for name, value in parser.items():
        setattr(config.pipeline.datamanager.dataparser, name, value)
    config.experiment_name = scene  # a demo scene's folder is named otherwise
    torch.manual_seed(config.machine.seed)
    np.random.seed(config.machine.seed)
    start = time.perf_counter()
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    set_up = time.perf_counter()
    if seconds is not None:
        stop_after(trainer, seconds)
    config.save_config()
    trainer.train()
    trained = time.perf_counter()
    steps = trainer.step + 1
    rays = config.pipeline.datamanager.train_num_rays_per_batch
    trainer.pipeline.eval()
    return {
        "steps": steps,
        "setup_seconds": set_up - start,
        "train_seconds": trained - set_up,
        "rays_per_second": steps * rays / (trained - set_up),
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        **evaluated(method, trainer.pipeline),
    }


def evaluated(method: str, pipeline: Any) -> dict[str, Any]:
    """PSNR of stock nerfacto; everything that `condense evaluate` measures of ours."""
    if method == "condense-lite":
        from condense_nerfstudio.scene.evaluation import evaluate

        return evaluate(pipeline)
    metrics = pipeline.get_average_eval_image_metrics()
    return {"psnr": metrics["psnr"], "ssim": metrics["ssim"]}


def stop_after(trainer: Any, seconds: float) -> None:
    """Ends a training after so many seconds."""
    step, deadline = trainer.train_iteration, time.perf_counter() + seconds

    def timed(number: int) -> Any:
        trainer.stop_training = time.perf_counter() > deadline
        return step(number)

    trainer.train_iteration = timed


def in_own_process(method: str, scene: str, arguments: argparse.Namespace, seconds: float | None) -> dict[str, Any]:
    """Runs this script again for one training; its result comes back as a file."""
    result = arguments.work / f"{scene}_{method}.json"
    command = [sys.executable, __file__, "--data", str(arguments.data), "--work", str(arguments.work)]
    command += ["--one", method, scene, "--output", str(result)]
    command += ["--seconds", str(seconds)] if seconds is not None else []
    with (arguments.work / f"{scene}_{method}.log").open("w") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return json.loads(result.read_text())


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the captures fox, fountain_p11, ...")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--stock", nargs="*", choices=SCENES, default=["fox"], help="scenes on which stock runs too")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/scenes.json"))
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "condense_benchmark")
    parser.add_argument("--seconds", type=float, help="stop every training after so long")
    parser.add_argument("--one", nargs=2, metavar=("METHOD", "SCENE"), help="one training in this process")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    importlib.import_module("condense_nerfstudio.plugin")
    if arguments.one:
        method, scene = arguments.one
        result = train(method, scene, arguments.data, arguments.work, arguments.seconds)
    else:
        result = json.loads(arguments.output.read_text()) if arguments.output.exists() else {}
        for scene in arguments.scenes:
            ours = in_own_process("condense-lite", scene, arguments, arguments.seconds)
            result[scene] = {"condense-lite": ours}
            if scene in arguments.stock:
                result[scene]["nerfacto"] = in_own_process("nerfacto", scene, arguments, ours["train_seconds"])
            write_json(arguments.output, result)
        print(json.dumps(result))
    write_json(arguments.output, result)


if __name__ == "__main__":
    main()
