"""How well text finds its objects: a threshold calibrated on some demo scenes and verified on others.

    python benchmarks/relevancy.py --output benchmarks/results/relevancy.json

condense-lite is trained on demo scenes with a fifth of the views held out. In every held-out view every object that a
phrase names and that covers a hundredth of the view is asked for. The threshold with the highest mean intersection over
union on the calibration scenes is judged on the verification scenes, beside two others: the frozen teacher's own
feature maps of the held-out photographs, and an example in place of the phrase (the mean feature that the object itself
has in the calibration scenes), which says what features know and phrases cannot say. Trainings are kept in --work and
not repeated.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from condense_nerfstudio.files import write_json
from condense_nerfstudio.scene.lens import Lens

if TYPE_CHECKING:
    from condense_nerfstudio.scene.pipeline import CondensePipeline

CALIBRATION, VERIFICATION = (101, 102, 103), (201, 202, 203, 204)
THRESHOLDS = np.round(np.arange(0.02, 0.82, 0.01), 2)
KINDS = ("3d", "frozen teacher", "example")


@dataclass(frozen=True)
class FeatureLens(Lens):
    """Shows the language features themselves, too, centred."""

    def look(self, model: Any, rgb: Tensor, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {**super().look(model, rgb, features), "language": features[model.text.teacher_name]}


def trained(seed: int, work: Path) -> Path:
    """Makes a demo scene and trains condense-lite on it, unless that was done; returns the config.yml."""
    config = work / f"trainings/demo_{seed}/condense-lite/run/config.yml"
    if any((config.parent / "nerfstudio_models").glob("*.ckpt")):
        return config
    scenes, programs = work / f"scenes/demo_{seed}", Path(sys.executable).parent
    if not scenes.exists():
        make = [programs / "condense", "demo-scenes", "--output-dir", scenes, "--count", "1", "--seed", str(seed)]
        subprocess.run(make, check=True, stdout=sys.stderr)
    command = [
        programs / "ns-train", "condense-lite", "--data", scenes / "scene_000", "--vis", "tensorboard",
        "--output-dir", work / "trainings", "--experiment-name", f"demo_{seed}", "--timestamp", "run",
        "--steps-per-save", "100000", "nerfstudio-data", "--train-split-fraction", "0.8",
    ]  # fmt: skip
    subprocess.run(command, check=True, stdout=sys.stderr)
    return config


@torch.no_grad()
def views(config: Path) -> Iterator[tuple[CondensePipeline, int, dict[str, Tensor], list[tuple[int, str, np.ndarray]]]]:
    """Every held-out view of a scene: the scene, the view's index, what is rendered, and its questions."""
    from condense_nerfstudio.scene.load import load_scene
    from condense_nerfstudio.scene.questions import DemoQuestions

    pipeline = load_scene(config)
    questions, cameras = DemoQuestions.of(pipeline), pipeline.datamanager.eval_dataset.cameras
    assert questions is not None
    lens = FeatureLens(pipeline.model.config.phrases)
    pipeline.model.choose_lens = lambda: lens
    for index in range(len(cameras)):
        outputs = pipeline.model.get_outputs_for_camera(cameras[index : index + 1])
        yield pipeline, index, outputs, list(questions.of_view(index))


def examples_of(configs: list[Path]) -> dict[str, Tensor]:
    """The mean centred feature of every phrase's object, over views of scenes, as a unit vector."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    for config in configs:
        for _, _, outputs, questions in views(config):
            for _, phrase, on_object in questions:
                features = outputs["language"][torch.from_numpy(on_object)]
                found[phrase].append(functional.normalize(features, dim=-1).mean(dim=0))
    return {phrase: functional.normalize(torch.stack(some).mean(dim=0), dim=0) for phrase, some in found.items()}


def answers(config: Path, examples: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Every question of a scene: view, phrase and, by kind, what :func:`judge` says."""
    from condense_nerfstudio.teachers.registry import load_teacher

    rows, maps, phrases = [], None, ()
    for pipeline, index, outputs, questions in views(config):
        text, manager = pipeline.model.text, pipeline.datamanager
        assert text is not None
        if maps is None:
            teacher = load_teacher(manager.teacher_configs[text.teacher_name], pipeline.device)
            maps, phrases = (
                manager.feature_maps(teacher, manager.eval_dataset.image_filenames),
                pipeline.model.config.phrases,
            )
        raw = text.relevancy(torch.from_numpy(np.array(maps[index], dtype=np.float32)), phrases)
        size = outputs["rgb"].shape[:2]
        frozen = functional.interpolate(raw.permute(2, 0, 1)[None], size, mode="bilinear", align_corners=False)[0]
        for i, phrase, on_object in questions:
            similarity = functional.cosine_similarity(outputs["language"], examples[phrase], dim=-1)
            scores = {"3d": outputs[f"relevancy_{i}"][..., 0], "frozen teacher": frozen[i], "example": similarity}
            judged = {kind: judge(values.numpy(), on_object) for kind, values in scores.items()}
            rows.append({"view": index, "phrase": phrase, **judged})
    return rows


def judge(scores: np.ndarray, on_object: np.ndarray) -> dict[str, Any]:
    """Whether the peak lies on the object, the IoU at every threshold, and the peak's relevancy."""
    above = scores[None] > THRESHOLDS[:, None, None]
    both, either = (above & on_object).sum(axis=(1, 2)), (above | on_object).sum(axis=(1, 2))
    return {
        "peak": bool(on_object.flat[scores.argmax()]),
        "relevancy": float(scores.max()),
        "iou": (both / either).tolist(),
    }


def summary(rows: list[dict[str, Any]], kind: str, threshold: float) -> dict[str, Any]:
    """Means over questions, over all and by phrase."""
    at = int(np.abs(THRESHOLDS - threshold).argmin())

    def means(some: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "asked": len(some),
            "peak": float(np.mean([row[kind]["peak"] for row in some])),
            "iou": float(np.mean([row[kind]["iou"][at] for row in some])),
        }

    phrases = sorted({row["phrase"] for row in rows})
    return {**means(rows), "phrases": {p: means([row for row in rows if row["phrase"] == p]) for p in phrases}}


def best_threshold(rows: list[dict[str, Any]], kind: str) -> tuple[float, list[float]]:
    """The threshold with the highest mean IoU, and the mean IoU at all of them."""
    curve = np.mean([row[kind]["iou"] for row in rows], axis=0)
    return float(THRESHOLDS[curve.argmax()]), curve.tolist()


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "condense_relevancy")
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/relevancy.json"))
    parser.add_argument("--calibration", type=int, nargs="+", default=list(CALIBRATION), help="seeds of demo scenes")
    parser.add_argument("--verification", type=int, nargs="+", default=list(VERIFICATION), help="seeds of demo scenes")
    arguments = parser.parse_args()
    importlib.import_module("condense_nerfstudio.plugin")
    from condense_nerfstudio.teachers.conse import ConseTeacher

    arguments.work.mkdir(parents=True, exist_ok=True)
    configs = {
        seed: trained(seed, arguments.work.resolve()) for seed in (*arguments.calibration, *arguments.verification)
    }
    examples = examples_of([configs[seed] for seed in arguments.calibration])
    rows: dict[str, list[dict[str, Any]]] = {"calibration": [], "verification": []}
    for part in rows:
        for seed in getattr(arguments, part):
            found = answers(configs[seed], examples)
            print(f"demo scene {seed}: {len(found)} questions", file=sys.stderr)
            rows[part] += [{"seed": seed, **row} for row in found]
    threshold, curve = best_threshold(rows["calibration"], "3d")
    result: dict[str, Any] = {
        "seeds": {part: getattr(arguments, part) for part in rows},
        "calibrated_threshold": threshold,
        "thresholds": THRESHOLDS.tolist(),
        "calibration_curve": curve,
        "default_threshold": ConseTeacher.relevancy_threshold,
    }
    for part, some in rows.items():
        thresholds = {
            "3d": ConseTeacher.relevancy_threshold,
            "frozen teacher": best_threshold(some, "frozen teacher")[0],
            "example": best_threshold(rows["calibration"], "example")[0],
        }
        result[part] = {kind: summary(some, kind, thresholds[kind]) for kind in KINDS}
    write_json(arguments.output, result)
    write_json(arguments.work / "questions.json", rows)
    print(json.dumps({key: value for key, value in result.items() if key not in ("thresholds", "calibration_curve")}))


if __name__ == "__main__":
    main()
