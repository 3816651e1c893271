"""`condense pretrain`: from folders of captures to a backbone, in three stages that all go on where they were."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from condense_nerfstudio.backbone.backbone_file import BackboneCard, write_backbone
from condense_nerfstudio.backbone.fleet import Job, find_captures, sole_user, train_nerfs
from condense_nerfstudio.backbone.network import SIZES
from condense_nerfstudio.backbone.pretraining import Pretraining
from condense_nerfstudio.backbone.ranks import Ranks, started_ranks
from condense_nerfstudio.backbone.ray_fleet import train_nerfs_on_ray
from condense_nerfstudio.backbone.settings import PretrainConfig, PretrainingConfig
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import write_json
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.teachers.lora import LoraShape, import_peft, lora_shape
from condense_nerfstudio.teachers.protocol import Teacher, TunableTeacher

BACKBONE_FILE, REPORT_FILE, STATE_FILE = "backbone.safetensors", "report.json", "state.safetensors"


def pretrain(config: PretrainConfig) -> dict[str, Any]:
    """Runs the three stages, with progress on standard error and TensorBoard scalars in the output folder.

    Args:
        config: what to do.

    Returns:
        What report.json holds: scenes, failures, seconds of each stage, steps, losses, and the backbone's file; nothing
        on ranks of torchrun but the first.

    Raises:
        UserError: there is no scene, none is left, the folder is in use, or LoRA is wanted without peft.
    """
    captures = find_captures(config.scenes)
    if config.training.lora_rank:
        import_peft()  # now, and not after the NeRFs
    with started_ranks() as ranks, _progress(ranks.first) as progress:
        if not ranks.first:
            _stage_three(ranks.from_first(None), config, progress, ranks)
            return {}
        with sole_user(config.output_dir):
            return _as_first(captures, config, progress, ranks)


def _as_first(captures: Mapping[str, Path], config: PretrainConfig, progress: Progress, ranks: Ranks) -> dict[str, Any]:
    """What the first rank does, or the only one."""
    clock = _Clock()
    failed = _stage_one(captures, config, progress)
    clock.lap("nerfs")
    prepared = _stage_two([name for name in captures if name not in failed], config, progress, failed)
    clock.lap("volumes")
    if not prepared:
        first, reason = next(iter(failed.items()))
        raise UserError(f"No scene is left to learn from: {first} failed ({reason}).")
    result = _stage_three(ranks.from_first(prepared), config, progress, ranks)
    clock.lap("backbone")
    report = {
        "backbone": str(config.output_dir / BACKBONE_FILE),
        "scenes": prepared,
        "failed": failed,
        "seconds": clock.seconds,
        **result,
    }
    write_json(config.output_dir / REPORT_FILE, report)
    return report


class _Clock:
    """Seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.monotonic()

    def lap(self, stage: str) -> None:
        """Ends a stage."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self._since, 2)
        self._since = now


def _progress(shown: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[note]}"), console=Console(stderr=True), disable=not shown)


def _stage_one(captures: Mapping[str, Path], config: PretrainConfig, progress: Progress) -> dict[str, str]:
    """The NeRFs; returns why scenes have none."""
    folder = config.output_dir.absolute() / "nerfs"
    jobs = {name: Job(name, capture, folder, config.nerfs) for name, capture in captures.items()}
    if not config.train_nerfs:
        return {
            name: f"it has no NeRF in {job.run}, and --no-train-nerfs was given"
            for name, job in jobs.items()
            if not job.done
        }
    task = progress.add_task("NeRFs", total=len(captures), note="")

    def report(name: str, reason: str | None) -> None:
        progress.advance(task)
        if reason is not None:
            progress.console.print(f"{name} is left out: {reason}", markup=False)

    if config.launcher == "ray":
        return train_nerfs_on_ray(list(jobs.values()), report)
    return train_nerfs(list(jobs.values()), config.nerfs.workers, report)


def _stage_two(names: list[str], config: PretrainConfig, progress: Progress, failed: dict[str, str]) -> list[str]:
    """The volumes; returns the scenes that have one and adds the others to the failures."""
    from condense_nerfstudio.backbone.preparation import prepare_scene

    task = progress.add_task("Volumes", total=len(names), note="")
    prepared = []
    for done, name in enumerate(names):
        job = Job(name, Path(), config.output_dir / "nerfs", config.nerfs)
        folder = config.output_dir / "scenes" / name
        try:
            prepare_scene(
                job.run / "config.yml",
                folder,
                config.volumes,
                lambda share, done=done: progress.update(task, completed=done + share),
            )
            prepared.append(name)
        except UserError as error:
            failed[name] = str(error)
            progress.console.print(f"{name} is left out: {error}", markup=False)
        progress.update(task, completed=done + 1)
    return prepared


def _stage_three(names: list[str], config: PretrainConfig, progress: Progress, ranks: Ranks) -> dict[str, Any]:
    """The backbone; returns what the report says of it."""
    from condense_nerfstudio.backbone.embedding_fit import fit_embedding
    from condense_nerfstudio.backbone.joint import JointConfig, JointModel
    from condense_nerfstudio.backbone.scenes import open_scene
    from condense_nerfstudio.cpu import prepare_cpu
    from condense_nerfstudio.keypoints.detection import load_detector
    from condense_nerfstudio.teachers.cache import default_cache_root
    from condense_nerfstudio.teachers.registry import load_teacher, teacher_role

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        prepare_cpu()
    configs = [teacher for teacher in (config.visual, config.language) if teacher.name != "none"]
    if not configs:
        raise UserError("A backbone needs a teacher: set --visual.name or --language.name.")
    teachers = [load_teacher(teacher, device) for teacher in configs]
    detector = None if config.detector.name == "none" else load_detector(config.detector, device)
    cache = config.cache_dir or default_cache_root()
    scenes = []
    if not ranks.first:
        ranks.wait()  # until the first has filled the cache
    task = progress.add_task("Feature maps", total=len(names), note="")
    for name in names:
        scenes.append(open_scene(config.output_dir / "scenes" / name, teachers, detector, cache))
        progress.advance(task)
    if ranks.first:
        ranks.wait()
    torch.manual_seed(config.training.seed)
    lora = _lora(teachers[0], config.training)
    network = JointConfig(SIZES[config.size], {teacher.name: teacher.dim for teacher in teachers}, lora=lora)
    joint = JointModel(network).to(device)
    for teacher in teachers:
        joint.tune(teacher)
    training = Pretraining(joint, scenes, config.training, config.output_dir / STATE_FILE, ranks)
    if ranks.first:
        _run_reported(training, config, progress)
        task = progress.add_task("Embedding", total=1.0, note="")
        fit_embedding(
            training.model, scenes, config.training.seed, lambda share: progress.update(task, completed=share)
        )
    else:
        training.run(lambda step, terms: None)
        return {}
    records = tuple(
        TeacherCard(teacher.name, teacher.revision, teacher.dim, teacher_role(teacher.name), asdict(settings))
        for teacher, settings in zip(teachers, configs, strict=True)
    )
    card = BackboneCard(
        size=config.size,
        resolution=config.volumes.resolution,
        teachers=records,
        detector=None if detector is None else asdict(config.detector),
        training={"scenes": names, "losses": training.losses, **asdict(config.training)},
    )
    write_backbone(training.model, card, config.output_dir / BACKBONE_FILE)
    return {"steps": training.step, "losses": training.losses}


def _lora(visual: Teacher, config: PretrainingConfig) -> dict[str, LoraShape]:
    """The LoRA of the visual teacher, by its name; none where none is wanted."""
    if not config.lora_rank:
        return {}
    assert isinstance(visual, TunableTeacher)
    return {visual.name: lora_shape(visual, config.lora_rank, config.lora_blocks)}


def _run_reported(training: Pretraining, config: PretrainConfig, progress: Progress) -> None:
    """Trains to the end, with a progress bar and TensorBoard scalars."""
    from torch.utils.tensorboard.writer import SummaryWriter

    task = progress.add_task("Backbone", total=config.training.steps, completed=training.step, note="")
    with SummaryWriter(str(config.output_dir / "tensorboard"), purge_step=training.step + 1) as writer:

        def report(step: int, terms: Mapping[str, float]) -> None:
            for name, value in terms.items():
                writer.add_scalar(f"losses/{name}", value, step)
            progress.update(task, completed=step, note=f"loss {terms['loss']:.3f}")

        training.run(report)
