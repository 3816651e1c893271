"""Scenes whose features start from a backbone."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch
from nerfstudio.engine.trainer import Trainer, TrainerConfig

from condense_nerfstudio.backbone import prior
from condense_nerfstudio.backbone.backbone_file import BackboneCard, find_backbone, write_backbone
from condense_nerfstudio.backbone.joint import JointConfig, JointModel
from condense_nerfstudio.backbone.marching import March
from condense_nerfstudio.backbone.octree import to_nodes
from condense_nerfstudio.backbone.pipeline import StartedPipeline
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.teachers.registry import load_teacher, teacher_role

from ..scene.trainings import small_config, small_pipeline_config, trained, write_folder
from .rooms import RESOLUTION, SMALL, room

START = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture and tiny random teachers."""
    return write_folder(tmp_path_factory.mktemp("prior"))


def config(folder: Path, output: Path, backbone: Path | str) -> TrainerConfig:
    """Four steps, the last two with features."""
    made = small_config(folder, output)
    made.max_num_iterations = START + 2
    model: Any = made.pipeline.model
    model.feature_start, model.backbone = START, str(backbone)
    return made


def backbone(folder: Path, path: Path, **changes: str) -> Path:
    """A tiny untrained backbone with the capture's teachers; changes are of the first one's card."""
    manager = small_pipeline_config(folder).datamanager
    cards = []
    for settings in (manager.visual, manager.language):
        teacher = load_teacher(settings, "cpu")
        role = teacher_role(teacher.name)
        cards.append(TeacherCard(teacher.name, teacher.revision, teacher.dim, role, asdict(settings)))
    cards[0] = TeacherCard(**{**asdict(cards[0]), **changes})
    torch.manual_seed(3)
    model = JointModel(JointConfig(SMALL, {card.name: card.dim for card in cards}, adapter_dim=8, tones=2))
    for name in model.config.teachers:
        model.head(name).mean.uniform_(-1, 1)
        model.head(name).scale.fill_(0.5)
    write_backbone(model, BackboneCard("lite", RESOLUTION, tuple(cards), None, {}), path)
    return path


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return backbone(folder, folder / "backbone.safetensors")


@pytest.fixture
def geometry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps make no geometry: the volume is that of a room."""
    monkeypatch.setattr(prior, "make_volume", lambda model, cameras, card, settings: room())


@pytest.fixture
def trainer(folder: Path, file: Path, tmp_path: Path, geometry: None) -> Trainer:
    return trained(config(folder, tmp_path, file))


def pipeline_of(trainer: Trainer) -> StartedPipeline:
    assert isinstance(trainer.pipeline, StartedPipeline)
    return trainer.pipeline


def test_before_anything_is_learned_a_scene_has_the_backbone_s_features(
    folder: Path, file: Path, tmp_path: Path, geometry: None
) -> None:
    settings = config(folder, tmp_path, file)
    settings.max_num_iterations = START
    pipeline = pipeline_of(trained(settings))
    assert pipeline.model.prior is None and pipeline.starter is not None
    pipeline.starter.start(pipeline.model, pipeline.datamanager.train_dataset.cameras)
    joint, _ = prior.open_backbone(file)
    torch.manual_seed(0)
    # Near nodes; elsewhere the backbone says nothing.
    cells = room().cells[torch.randperm(len(room().cells))[:200]]
    positions = (room().origin + (cells + torch.rand(200, 3)) * room().side)[:, None]
    weights = torch.ones(200, 1)
    points = torch.as_tensor(room().to_cells(positions))
    with torch.no_grad():
        expected = joint.render(joint(to_nodes(room())), March(points, weights)).features
        field, known = pipeline.model.feature_field, pipeline.model.prior
        assert field is not None and known is not None
        assert all(value.abs().max() == 0 for value in field.render(positions, weights).values())
        found = known.render(positions, weights)
    for name, value in expected.items():
        own, shared = pipeline.model.head(name), joint.head(name)
        torch.testing.assert_close(own.uncenter(found[name]), shared.uncenter(value), atol=1e-3, rtol=1e-3)


def test_training_adds_what_the_backbone_misses(trainer: Trainer) -> None:
    model = pipeline_of(trainer).model
    assert model.prior is not None and model.feature_field is not None
    learned = model.feature_field.render(torch.rand(50, 1, 3) - 0.5, torch.ones(50, 1))
    assert all(value.abs().max() > 0 for value in learned.values())


def test_a_checkpoint_keeps_what_the_backbone_said(
    folder: Path, trainer: Trainer, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = pipeline_of(trainer)
    for mode in ("inference", "val"):
        settings = config(folder, tmp_path, file if mode == "val" else "gone")
        new = settings.pipeline.setup(device="cpu", test_mode=mode, world_size=1, local_rank=0, grad_scaler=None)
        assert isinstance(new, CondensePipeline)
        new.load_pipeline(old.state_dict(), START + 1)
        positions, weights = torch.rand(30, 2, 3) - 0.5, torch.rand(30, 2)
        assert new.model.prior is not None and old.model.prior is not None
        expected = old.model.prior.render(positions, weights)
        for name, value in new.model.prior.render(positions, weights).items():
            assert torch.equal(value, expected[name])
    # Resumed, the backbone is not asked again.
    monkeypatch.setattr(prior.Starter, "start", lambda *_: pytest.fail("asked again"))
    new.train()
    new.get_train_loss_dict(START + 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"name": "efficientnet"}, "learned from efficientnet, clip"), ({"revision": "other"}, "another dinov2")],
)
def test_backbones_that_do_not_fit_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str], said: str
) -> None:
    file = backbone(folder, tmp_path / "other.safetensors", **changes)
    with pytest.raises(SystemExit, match="1"):
        trained(config(folder, tmp_path, file))
    assert said in capsys.readouterr().err


def test_a_missing_backbone_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        trained(config(folder, tmp_path, "nowhere.safetensors"))
    assert "nowhere.safetensors cannot be read" in capsys.readouterr().err


def test_a_file_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_backbone("some/file") == Path("some/file")
    Path("lite").write_text("")
    assert find_backbone("lite") == Path("lite")
