"""How much sooner does a scene have its features that starts from a backbone?

    python benchmarks/backbone_start.py --data SCENE [--backbone FILE] --output-dir O

Trains condense-lite twice on a capture, with and without the backbone, and measures the centred cosine of rendered
features with the frozen teacher's on held-out photographs on the way.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from condense_nerfstudio.files import write_json

EVERY = 50
"""Steps between two looks, once features are trained."""
GOAL = 0.95
"""Share of the final cosine that counts as there."""


def trained(data: Path, backbone: str | None, output: Path, steps: int) -> dict[str, list[tuple[int, float]]]:
    """Cosines on the way, as (steps, cosine), by teacher."""
    from condense_nerfstudio.scene.evaluation import FeatureEvaluation, View

    module = importlib.import_module("condense_nerfstudio.method_configs.condense_lite")
    config: Any = copy.deepcopy(module.method.config)
    config.pipeline.datamanager.data = data
    config.pipeline.datamanager.dataparser.train_split_fraction = 0.8
    config.pipeline.model.backbone = backbone
    config.max_num_iterations, config.vis = steps, "tensorboard"
    config.output_dir, config.experiment_name, config.timestamp = output, data.name, str(backbone is not None)
    torch.manual_seed(0)
    trainer = config.setup(local_rank=0, world_size=1)
    trainer.setup()
    pipeline = trainer.pipeline
    manager = pipeline.datamanager
    views = [View(manager.eval_dataset, i) for i in range(len(manager.eval_dataset))]
    means = {name: values.mean for name, values in manager.train_dataset.metadata["feature_statistics"].items()}
    curves: dict[str, list[tuple[int, float]]] = {name: [] for name in pipeline.model.heads}
    start = config.pipeline.model.feature_start

    def look(step: int) -> None:
        pipeline.eval()
        for name, mean in means.items():
            evaluation, head = FeatureEvaluation(pipeline, name, views), pipeline.model.head(name)
            with torch.no_grad():
                cosines = [
                    functional.cosine_similarity(
                        head.uncenter(found["3d"]) - mean, head.uncenter(found["raw"]) - mean, dim=-1
                    ).mean()
                    for _, found in map(evaluation.features, views)
                ]
            curves[name].append((step + 1, float(np.mean(cosines))))
        pipeline.train()

    take_step = trainer.train_iteration

    def step_and_look(step: int) -> Any:
        taken = take_step(step)
        if step >= start and ((step - start) % EVERY == 0 or step == steps - 1):
            look(step)
        return taken

    trainer.train_iteration = step_and_look
    trainer.train()
    return curves


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--backbone", default="lite")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--output-dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/backbone_start.json"))
    arguments = parser.parse_args()
    importlib.import_module("condense_nerfstudio.plugin")
    result: dict[str, Any] = {}
    for data in arguments.data:
        curves = {
            kind: trained(data, backbone, arguments.output_dir, arguments.steps)
            for kind, backbone in (("without", None), ("with", arguments.backbone))
        }
        # One goal for both: what the training without a backbone comes to.
        goals = {name: GOAL * curve[-1][1] for name, curve in curves["without"].items()}
        reached = {
            kind: {
                name: next((step for step, cosine in curve if cosine >= goals[name]), None)
                for name, curve in found.items()
            }
            for kind, found in curves.items()
        }
        result[data.name] = {"curves": curves, "steps until 95 %": reached}
        print(data.name, json.dumps(reached))
    write_json(arguments.output, result)


if __name__ == "__main__":
    main()
