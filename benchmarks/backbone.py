"""What a backbone knows of scenes that it never saw.

    python benchmarks/backbone.py --configs SCENE/config.yml ... [--backbone FILE] [--others NAME=FILE ...]

Every scene is a training of condense-lite, whose own heads are what the backbone is measured against. On its held-out
photographs: the centred cosine of rendered features with the frozen teacher's, and the share of correspondences found
again between pairs of photographs, for the scene's own heads, the backbone (from the NeRF alone, and with eight of the
training photographs lifted into its input), an untrained backbone, the frozen teacher, the same blurred by hand, both
2D branches, and further backbones (ablations). Then: does the embedding of a held-out photograph find its scene among
all the scenes? And how well does a linear probe tell the classes of demo scenes, learned on half of them and asked on
the other half?
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from backbone_probe import class_labels, probe_accuracy
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.functional import gaussian_blur

from condense_nerfstudio.files import write_json
from condense_nerfstudio.teachers.cache import read_rgb

LIFTED = 8
"""Photographs that are lifted."""
BLUR = 0.8
"""Standard deviation, in cells, of the blur of the teacher's maps; of .5, .8 and 1.2, good for both teachers."""


class HeldOutScene:
    """A scene with trained features of its own, and what backbones say of it.

    Args:
        config: of its training.
        models: backbones by name; the one called backbone is also given photographs.
        volumes: how volumes are made.
    """

    def __init__(self, config: Path, models: Mapping[str, Any], volumes: Any) -> None:
        from condense_nerfstudio.backbone.nerf import nerf_of
        from condense_nerfstudio.backbone.octree import to_nodes
        from condense_nerfstudio.backbone.preparation import volume_of
        from condense_nerfstudio.scene.evaluation import View, choose_pairs
        from condense_nerfstudio.scene.load import open_training

        self.name = config.parents[2].name
        training = open_training(config)
        self.pipeline: Any = training.pipeline
        manager = self.pipeline.datamanager
        self.nerf = nerf_of(training)
        started = time.monotonic()
        self.volume = volume_of(self.nerf, volumes)
        self.thickness = self.volume.dense_thickness()
        self.seconds = {"volume": time.monotonic() - started}
        self.models = dict(models)
        with torch.no_grad():
            nodes = to_nodes(self.volume)
            started = time.monotonic()
            self.features = {name: model(nodes) for name, model in models.items()}
            self.seconds["network"] = (time.monotonic() - started) / len(models)
            self.models["with photographs"] = models["backbone"]
            self.features["with photographs"] = models["backbone"](nodes, self._lifted(models["backbone"], nodes))
        self.views = [View(manager.eval_dataset, i) for i in range(len(manager.eval_dataset))]
        self.pairs, _ = choose_pairs(self.views, [View(manager.train_dataset, i) for i in range(3)])
        self.data = Path(manager.get_datapath())

    @property
    def is_demo(self) -> bool:
        """Whether its classes are known."""
        return (self.data / "ground_truth.json").exists()

    def _lifted(self, model: Any, nodes: Any) -> Tensor:
        """Features of eight training photographs at the nodes."""
        from condense_nerfstudio.backbone.joint_step import lifted_features
        from condense_nerfstudio.backbone.scenes import Scene
        from condense_nerfstudio.teachers.registry import load_teacher

        manager = self.pipeline.datamanager
        images = self.nerf.views.indices(held_out=False)
        images = [images[i] for i in np.linspace(0, len(images) - 1, LIFTED).round().astype(int)]
        maps = {}
        for name in model.config.teachers:
            teacher = load_teacher(manager.teacher_configs[name], self.pipeline.device)
            maps[name] = manager.feature_maps(teacher, self.nerf.views.images)
        scene = Scene(self.name, self.volume, self.nerf.views, maps, [])
        return lifted_features(model, scene, self.thickness, nodes, images)

    @torch.no_grad()
    def look(self, teacher: str) -> TeacherAnswers:
        """All features of one teacher on all views that are compared, centred with the scene's own mean."""
        from condense_nerfstudio.backbone.marching import march
        from condense_nerfstudio.scene.evaluation import FeatureEvaluation

        views = {(view.dataset, view.index): view for view in [*self.views, *(v for pair in self.pairs for v in pair)]}
        own = FeatureEvaluation(self.pipeline, teacher, list(views.values()))
        own_head = self.pipeline.model.head(teacher)
        answers = TeacherAnswers()
        for key, view in views.items():
            grid, values = own.features(view)
            found = {"own heads": values["3d"], "frozen teacher": values["raw"], "own heads 2d": values["2d"]}
            found["teacher blurred"] = blurred(values["raw"].unflatten(0, grid.shape)).flatten(0, 1)
            marched = march(self.thickness, self.volume.to_cells(grid.rays.origins), grid.rays.directions)
            raw = torch.from_numpy(np.array(own.maps[key], dtype=np.float32))
            for name, model in self.models.items():
                head = model.head(teacher)
                rendered = model.render(self.features[name], marched).features[teacher]
                found[name] = own_head.center(head.uncenter(rendered))
                if name != "with photographs":
                    seen = raw
                    if teacher in model.config.lora:
                        seen = model.tuned(teacher).encode(read_rgb(Path(view.dataset.image_filenames[view.index])))
                    adapted = head.adapter(head.center(seen))
                    found[f"{name} 2d"] = own_head.center(head.uncenter(adapted)).flatten(0, 1)
                    answers.adapted[name][key] = adapted
            answers.features[key] = (grid, found)
        return answers

    def measures(self, answers: TeacherAnswers) -> dict[str, dict[str, float]]:
        """Cosine with the frozen teacher and share of correspondences, by kind of feature."""
        from condense_nerfstudio.scene.correspondence import share_by_depth, share_by_epipolar_line

        held_out = [answers.features[view.dataset, view.index][1] for view in self.views]
        kinds = list(held_out[0])
        cosines = {
            kind: float(
                np.mean([
                    functional.cosine_similarity(found[kind], found["frozen teacher"], dim=-1).mean().item()
                    for found in held_out
                ])
            )
            for kind in kinds
        }  # fmt: skip
        counts: dict[str, Any] = {kind: np.zeros(2) for kind in kinds}
        for first, second in self.pairs:
            for a, b in ((first, second), (second, first)):
                (grid_a, found_a), (grid_b, found_b) = (answers.features[v.dataset, v.index] for v in (a, b))
                by_depth = grid_a.depth is not None and grid_b.depth is not None
                share = share_by_depth if by_depth else share_by_epipolar_line
                for kind in kinds:
                    counts[kind] += share(grid_a, found_a[kind], grid_b, found_b[kind])
        shares = {kind: float(right / max(total, 1)) for kind, (right, total) in counts.items()}
        return {"cosine": cosines, "correspondences": shares}


def blurred(features: Tensor) -> Tensor:
    """A feature map of shape (rows, columns, channels), blurred: what a user would do by hand for steadier matches."""
    return gaussian_blur(features.permute(2, 0, 1), [7, 7], [BLUR, BLUR]).permute(1, 2, 0)


class TeacherAnswers:
    """What one teacher's features are on the views of a scene."""

    def __init__(self) -> None:
        self.features: dict[Any, tuple[Any, dict[str, Tensor]]] = {}
        """Patches, and centred features by kind, of every view."""
        self.adapted: dict[str, dict[Any, Tensor]] = defaultdict(dict)
        """Maps of every backbone's 2D branch, in its own space, by view."""


class Retrieval:
    """Finds the scene of every held-out photograph by embedding alone.

    Args:
        models: backbones by name.
    """

    def __init__(self, models: Mapping[str, Any]) -> None:
        self._models = models
        self._scenes: dict[str, list[Tensor]] = defaultdict(list)
        self._photographs: dict[str, list[tuple[int, Tensor]]] = defaultdict(list)

    @torch.no_grad()
    def add(self, scene: HeldOutScene, answers: Mapping[str, TeacherAnswers]) -> None:
        """Embeds a scene and its held-out photographs."""
        for name, model in self._models.items():
            number = len(self._scenes[name])
            self._scenes[name].append(model.scene_embedding(scene.features[name]))
            for view in scene.views:
                maps = {teacher: answer.adapted[name][view.dataset, view.index] for teacher, answer in answers.items()}
                image = read_rgb(Path(view.dataset.image_filenames[view.index]))
                self._photographs[name].append((number, model.image_embedding(image, maps)))

    def recall(self) -> dict[str, float]:
        """Share of photographs whose scene is the nearest, by backbone."""
        found = {}
        for name, photographs in self._photographs.items():
            table = torch.stack(self._scenes[name])
            found[name] = float(np.mean([int((table @ one).argmax()) == number for number, one in photographs]))
        return found


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of all measures over scenes."""
    teachers = rows[0]["teachers"]
    return {
        teacher: {
            measure: {kind: float(np.mean([row["teachers"][teacher][measure][kind] for row in rows])) for kind in kinds}
            for measure, kinds in measures.items()
        }
        for teacher, measures in teachers.items()
    }


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="lite")
    parser.add_argument("--others", nargs="*", default=[], metavar="NAME=FILE")
    parser.add_argument("--configs", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/backbone.json"))
    arguments = parser.parse_args()
    importlib.import_module("condense_nerfstudio.plugin")
    from condense_nerfstudio.backbone.backbone_file import find_backbone, open_backbone
    from condense_nerfstudio.backbone.joint import JointModel
    from condense_nerfstudio.backbone.settings import VolumeConfig
    from condense_nerfstudio.teachers.config import TeacherConfig
    from condense_nerfstudio.teachers.registry import load_teacher

    trained, card = open_backbone(find_backbone(arguments.backbone))
    torch.manual_seed(0)
    untrained = JointModel(trained.config).eval()
    for name in trained.config.teachers:
        for part in ("mean", "scale", "pca"):
            getattr(untrained.head(name), part).copy_(getattr(trained.head(name), part))
    models = {"backbone": trained, "untrained": untrained}
    for other in arguments.others:
        name, _, file = other.partition("=")
        models[name] = open_backbone(Path(file))[0]
    for record in card.teachers:
        teacher = load_teacher(TeacherConfig(**record.config))
        for model in models.values():
            model.tune(teacher)
    rows: dict[str, dict[str, Any]] = {"demo": {}, "real": {}}
    retrieval = {"demo": Retrieval(models), "all": Retrieval(models)}
    probed: dict[str, list[Any]] = defaultdict(list)
    for config in arguments.configs:
        scene = HeldOutScene(config, models, VolumeConfig(resolution=card.resolution))
        answers = {name: scene.look(name) for name in trained.config.teachers}
        row = {
            "teachers": {name: scene.measures(answer) for name, answer in answers.items()},
            "seconds": scene.seconds,
            "cells": len(scene.volume.cells),
        }
        rows["demo" if scene.is_demo else "real"][scene.name] = row
        for name, group in retrieval.items():
            if scene.is_demo or name == "all":
                group.add(scene, answers)
        for name, answer in answers.items() if scene.is_demo else ():
            grids = [answer.features[view.dataset, view.index] for view in scene.views]
            labels = [class_labels(view, grid.shape) for view, (grid, _) in zip(scene.views, grids, strict=True)]
            probed[name].append((torch.cat(labels), [found for _, found in grids]))
        print(scene.name, json.dumps(row), file=sys.stderr, flush=True)
    result = {
        "means": {group: means(list(of.values())) for group, of in rows.items() if of},
        "recall@1": {name: group.recall() for name, group in retrieval.items()},
        "probe": {name: probe_accuracy(scenes) for name, scenes in probed.items()},
        "scenes": rows,
        "training": dict(card.training),
    }
    write_json(arguments.output, result)
    print(json.dumps({key: result[key] for key in ("means", "recall@1", "probe")}))


if __name__ == "__main__":
    main()
