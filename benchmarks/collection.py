"""The collection that benchmarks/repository.py asks: demo scenes, duplicates, near misses, halves of real captures.

Everything is made where it is not there: scenes, trainings, condensed scenes. Most scenes are trained with
condense-lite; some are NeRFs without features, condensed with `condense embed` and the backbone that ships, which has
been trained on them: a repository holds scenes of every origin.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from halves import demo_capture, halve

from condense_nerfstudio.backbone.embed_job import embed
from condense_nerfstudio.backbone.settings import EmbedConfig
from condense_nerfstudio.demo.generate import Options, generate_scenes
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.scene.condensation import condense_scene
from condense_nerfstudio.scene.load import load_scene
from condense_nerfstudio.scene.posed_scene import TrainedScene

SEEDS = (101, 102, 103, 201, 202, 203, 204)
HELD_OUT = {
    "photographs": ("cup of coffee", "motorcycle", "moon", "retina"),
    "solids": ("torus", "vase"),
}
"""Of the rooms that no shipped weights have seen; many of them share their photographs."""
EMBEDDED = {
    "photographs": ("cat", "astronaut", "rocket", "photographer", "coins", "galaxies", "tissue"),
    "solids": ("box", "sphere", "cylinder", "cone", "ziggurat"),
}
"""Of the NeRFs without features."""
DUPLICATES = ("held_000", "demo_101", "demo_103", "demo_201", "demo_203", "held_003")
NEAR_MISSES = ("held_000", "demo_101", "demo_102", "demo_201", "demo_202", "held_001", "held_004")
DEMO_HALVES = (7, 31, 57)
REAL = ("fox", "fountain_p11", "7scenes_rgbd", "lund", "sceaux_castle", "herz_jesus_p8")
STEPS = 1000
WITHOUT_FEATURES = [
    word for part in ("visual", "language", "detector") for word in (f"--pipeline.datamanager.{part}.name", "none")
]
NUM_KEYPOINTS = 512


@dataclass(frozen=True)
class Member:
    """A scene of the collection."""

    name: str
    place: str
    """What it shows: two of one place are duplicates."""
    capture: Path
    held_out: bool
    """Whether its training leaves out every fifth photograph."""
    real: bool = False
    embedded: bool = False
    """Whether it is a NeRF without features."""


def members(work: Path, data: Path) -> list[Member]:
    """All scenes, their captures made."""
    demos = {f"demo_{seed}": demo_capture(work / "scenes", seed) for seed in SEEDS}
    held = work / "scenes/held"
    if not held.exists():
        generate_scenes(held, Options(count=8, seed=900, **HELD_OUT))
    demos |= {f"held_{i:03}": held / f"scene_{i:03}" for i in range(8)}
    nerfs = work / "scenes/nerfs"
    if not nerfs.exists():
        generate_scenes(nerfs, Options(count=8, seed=500, **EMBEDDED))
    found = [Member(name, name, capture, True) for name, capture in demos.items()]
    for i in range(8):
        found.append(Member(f"nerf_{i:03}", f"nerf_{i:03}", nerfs / f"scene_{i:03}", False, embedded=True))
    for i, name in enumerate(DUPLICATES):
        options = Options(count=1, seed=400 + i, duplicate_of=demos[name])
        found.append(Member(f"again_{name}", name, _made(work, f"again_{name}", options), True))
    for i, name in enumerate(NEAR_MISSES):
        options = Options(count=1, seed=500 + i, near_miss_of=demos[name])
        found.append(Member(f"near_{name}", f"near_{name}", _made(work, f"near_{name}", options), True))
    for seed in DEMO_HALVES:
        found += _halves(demo_capture(work / "scenes", seed), work, f"demo_{seed}", real=False)
    for name in REAL:
        found += _halves(data / name, work, name, real=True)
    return found


def _made(work: Path, name: str, options: Options) -> Path:
    if not (work / "scenes" / name).exists():
        generate_scenes(work / "scenes" / name, options)
    return work / "scenes" / name / "scene_000"


def _halves(capture: Path, work: Path, name: str, real: bool) -> list[Member]:
    return [Member(half.name, name, half, False, real) for half in halve(capture, work, name)]


def condensed(member: Member, work: Path) -> Path:
    """The condensed scene of a member; trained and condensed where it is not there."""
    folder = work / "condensed" / member.name
    if member.embedded and not folder.exists():
        embed(EmbedConfig(_trained(member, work), folder, num_keypoints=NUM_KEYPOINTS), member.name)
    elif not folder.exists():
        pipeline = load_scene(_trained(member, work))
        pipeline.datamanager.config.cache_dir = work / "cache"
        scene = condense_scene(TrainedScene(pipeline), NUM_KEYPOINTS, member.name)
        write_condensed_scene(scene, folder)
    return folder


def _trained(member: Member, work: Path) -> Path:
    """The config.yml of a member's training."""
    run = work / "trainings" / member.name / "condense-lite/run"
    if not any(run.glob("nerfstudio_models/*.ckpt")):
        shutil.rmtree(run, ignore_errors=True)
        split = ["--train-split-fraction", "0.8"] if member.held_out else ["--eval-mode", "all"]
        command = [
            str(Path(sys.executable).parent / "ns-train"), "condense-lite", "--data", str(member.capture),
            "--vis", "tensorboard", "--output-dir", str(work / "trainings"), "--experiment-name", member.name,
            "--timestamp", "run", "--steps-per-save", "100000", "--steps-per-eval-image", "100000",
            "--max-num-iterations", str(STEPS), *(WITHOUT_FEATURES if member.embedded else ()),
            "nerfstudio-data", *split,
        ]  # fmt: skip
        subprocess.run(command, check=True, stdout=sys.stderr)
    return run / "config.yml"
