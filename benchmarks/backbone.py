"""What a backbone knows of scenes that it never saw.

    python benchmarks/backbone.py --backbone O/backbone.safetensors --configs SCENE/config.yml ... --output FILE

Every scene is a training of condense-lite, whose own heads are what the backbone is measured against. On its held-out
photographs: the centred cosine of rendered features with the frozen teacher's, and the share of correspondences found
again between pairs of photographs, for the scene's own heads, the backbone (from the NeRF alone, and with eight of the
training photographs lifted into its input), an untrained backbone, the frozen teacher,
and both 2D branches. Then: does the embedding of a held-out photograph find its scene among all the scenes?
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.files import write_json
from condense_nerfstudio.teachers.cache import read_rgb

KINDS = ("own heads", "backbone", "with photographs", "untrained", "frozen teacher", "2d own", "2d joint")
LIFTED = 8
"""Photographs that are lifted."""


class Scene:
    """A held-out scene: its own trained features, and what backbones say of it."""

    def __init__(self, config: Path, models: dict[str, Any], volumes: Any) -> None:
        from condense_nerfstudio.backbone.joint_step import lifted_features
        from condense_nerfstudio.backbone.nerf import load_nerf
        from condense_nerfstudio.backbone.octree import to_nodes
        from condense_nerfstudio.backbone.preparation import volume_of
        from condense_nerfstudio.backbone.scenes import Scene as Posed
        from condense_nerfstudio.scene.evaluation import View, choose_pairs
        from condense_nerfstudio.scene.load import load_scene
        from condense_nerfstudio.teachers.registry import load_teacher

        self.name = config.parents[2].name
        self.pipeline = load_scene(config)
        manager = self.pipeline.datamanager
        started = time.monotonic()
        nerf = load_nerf(config)
        self.volume = volume_of(nerf, volumes)
        self.thickness = self.volume.dense_thickness()
        self.seconds = {"volume": time.monotonic() - started}
        started = time.monotonic()
        with torch.no_grad():
            self.features = {kind: model(to_nodes(self.volume)) for kind, model in models.items()}
            self.seconds["network"] = (time.monotonic() - started) / len(models)
            nodes, model = to_nodes(self.volume), models["backbone"]
            images = nerf.views.indices(held_out=False)
            images = [images[i] for i in np.linspace(0, len(images) - 1, LIFTED).round().astype(int)]
            maps = {}
            for name in model.config.teachers:
                teacher = load_teacher(manager.teacher_configs[name], self.pipeline.device)
                maps[name] = manager.feature_maps(teacher, nerf.views.images)
            scene = Posed(self.name, self.volume, nerf.views, maps, [])
            lifted = lifted_features(model, scene, self.thickness, nodes, images)
            self.features["with photographs"] = model(nodes, lifted)
        self.models = {**models, "with photographs": model}
        self.views = [View(manager.eval_dataset, i) for i in range(len(manager.eval_dataset))]
        self.pairs, _ = choose_pairs(self.views, [View(manager.train_dataset, i) for i in range(3)])

    @torch.no_grad()
    def teacher(self, name: str) -> tuple[dict[str, Any], list[dict[str, Tensor]]]:
        """Both measures for one teacher, and the joint 2D branch's maps of the held-out photographs."""
        from condense_nerfstudio.backbone.marching import march
        from condense_nerfstudio.scene.correspondence import share_by_depth, share_by_epipolar_line
        from condense_nerfstudio.scene.evaluation import FeatureEvaluation

        views = {(view.dataset, view.index): view for view in [*self.views, *(v for pair in self.pairs for v in pair)]}
        own = FeatureEvaluation(self.pipeline, name, list(views.values()))
        own_head = self.pipeline.model.head(name)
        looked, maps = {}, []
        for key, view in views.items():
            grid, values = own.features(view)
            found = {"own heads": values["3d"], "frozen teacher": values["raw"], "2d own": values["2d"]}
            origins = self.volume.to_cells(grid.rays.origins)
            marched = march(self.thickness, origins, grid.rays.directions)
            for kind, model in self.models.items():
                rendered = model.render(self.features[kind], marched).features[name]
                # Compared where the scene's own heads are: centred with the scene's own mean.
                found[kind] = own_head.center(model.head(name).uncenter(rendered))
            joint = self.models["backbone"].head(name)
            raw = torch.from_numpy(np.array(own.maps[key], dtype=np.float32))
            adapted = joint.adapter(joint.center(raw))
            found["2d joint"] = own_head.center(joint.uncenter(adapted)).flatten(0, 1)
            looked[key] = (grid, found)
            if view in self.views:
                maps.append({name: adapted})
        cosines = {
            kind: float(
                np.mean([
                    functional.cosine_similarity(looked[v.dataset, v.index][1][kind],
                                                 looked[v.dataset, v.index][1]["frozen teacher"], dim=-1).mean().item()
                    for v in self.views
                ])
            )
            for kind in KINDS
        }  # fmt: skip
        counts: dict[str, Any] = {kind: np.zeros(2) for kind in KINDS}
        for first, second in self.pairs:
            for a, b in ((first, second), (second, first)):
                (grid_a, found_a), (grid_b, found_b) = looked[a.dataset, a.index], looked[b.dataset, b.index]
                by_depth = grid_a.depth is not None and grid_b.depth is not None
                share = share_by_depth if by_depth else share_by_epipolar_line
                for kind in KINDS:
                    counts[kind] += share(grid_a, found_a[kind], grid_b, found_b[kind])
        shares = {kind: float(right / max(total, 1)) for kind, (right, total) in counts.items()}
        return {"cosine": cosines, "correspondences": shares}, maps


@torch.no_grad()
def recall(scenes: list[tuple[Scene, list[dict[str, Tensor]]]], kind: str) -> float:
    """Share of held-out photographs whose scene's embedding is the nearest."""
    model = scenes[0][0].models[kind]
    table = torch.stack([model.scene_embedding(scene.features[kind]) for scene, _ in scenes])
    right = []
    for number, (scene, photographs) in enumerate(scenes):
        files = scene.pipeline.datamanager.eval_dataset.image_filenames
        for file, maps in zip(files, photographs, strict=True):
            right.append(int((table @ model.image_embedding(read_rgb(Path(file)), maps)).argmax()) == number)
    return float(np.mean(right))


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--configs", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/backbone.json"))
    arguments = parser.parse_args()
    importlib.import_module("condense_nerfstudio.plugin")
    from condense_nerfstudio.backbone.backbone_file import open_backbone
    from condense_nerfstudio.backbone.joint import JointModel
    from condense_nerfstudio.backbone.settings import VolumeConfig

    trained, card = open_backbone(arguments.backbone)
    torch.manual_seed(0)
    untrained = JointModel(trained.config).eval()
    for name in trained.config.teachers:
        for part in ("mean", "scale", "pca"):
            getattr(untrained.head(name), part).copy_(getattr(trained.head(name), part))
    models = {"backbone": trained, "untrained": untrained}
    rows, retrieval = {}, []
    for config in arguments.configs:
        scene = Scene(config, models, VolumeConfig(resolution=card.resolution))
        found = {name: scene.teacher(name) for name in trained.config.teachers}
        rows[scene.name] = {
            "teachers": {name: measures for name, (measures, _) in found.items()},
            "seconds": scene.seconds,
            "cells": len(scene.volume.cells),
        }
        photographs = [
            {name: maps[name] for name, maps in zip(found, together, strict=True)}
            for together in zip(*(maps for _, maps in found.values()), strict=True)
        ]
        retrieval.append((scene, photographs))
        print(scene.name, json.dumps(rows[scene.name]), file=sys.stderr, flush=True)
    means: dict[str, Any] = defaultdict(dict)
    for name in trained.config.teachers:
        for measure in ("cosine", "correspondences"):
            means[name][measure] = {
                kind: float(np.mean([row["teachers"][name][measure][kind] for row in rows.values()])) for kind in KINDS
            }
    result = {
        "means": means,
        "recall@1": {kind: recall(retrieval, kind) for kind in (*models, "with photographs")},
        "scenes": rows,
        "training": dict(card.training),
    }
    write_json(arguments.output, result)
    print(json.dumps({key: result[key] for key in ("means", "recall@1")}))


if __name__ == "__main__":
    main()
