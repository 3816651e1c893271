"""Cross-scene training that tunes a teacher, too."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from condense_nerfstudio.backbone.backbone_file import VERSION, BackboneCard, open_backbone, write_backbone
from condense_nerfstudio.backbone.embedding_fit import fit_embedding
from condense_nerfstudio.backbone.joint_step import adapted_maps, scene_losses
from condense_nerfstudio.backbone.pretrain_job import pretrain
from condense_nerfstudio.backbone.pretraining import Pretraining
from condense_nerfstudio.backbone.settings import PretrainConfig, PretrainingConfig, StepConfig
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.teachers.config import TeacherConfig

from .rooms import STEP, TEACHERS, TRAINING, TinyTeacher, model, room, seen_scene, tuned_model

LORA = replace(TRAINING, lora_rank=2, lora_learning_rate=0.05)
CPU = torch.device("cpu")
NONE = torch.zeros(0, 8)


def trained(state: Path) -> Pretraining:
    return Pretraining(tuned_model(), [seen_scene(i) for i in range(3)], LORA, state)


def test_it_starts_with_the_losses_of_a_training_without() -> None:
    found = [
        {name: value.item() for name, value in scene_losses(network, seen_scene(), NONE, STEP, (0, 1)).losses.items()}
        for network in (model(), tuned_model())
    ]
    assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-5)  # the cached maps are in half precision


def test_gradient_reaches_the_lora_and_the_anchors_stay_with_the_frozen_teacher() -> None:
    network = tuned_model()
    losses = scene_losses(network, seen_scene(), NONE, STEP, (0, 1)).losses
    torch.stack(list(losses.values())).sum().backward()
    assert all(p.grad is not None for p in network.lora.parameters())
    up = network.lora["first"].get_parameter("up.0")
    assert up.grad is not None and up.grad.any()
    torch.nn.init.normal_(up)
    moved = scene_losses(network, seen_scene(), NONE, STEP, (0, 1)).losses
    assert moved["first_anchor_3d"].item() == losses["first_anchor_3d"].item()
    assert moved["first_anchor_2d"] > losses["first_anchor_2d"] + 0.01


def test_training_changes_the_2d_branch_that_is_lifted(tmp_path: Path) -> None:
    network = trained(tmp_path / "state").model
    before = adapted_maps(network, seen_scene(), 0, CPU)
    torch.nn.init.normal_(network.lora["first"].get_parameter("up.0"))
    after = adapted_maps(network, seen_scene(), 0, CPU)
    assert not torch.allclose(before["first"], after["first"]) and torch.equal(before["second"], after["second"])


def test_training_lowers_the_loss_and_the_embedding_is_fitted_after_it(tmp_path: Path) -> None:
    losses: list[float] = []
    scenes = [seen_scene(i) for i in range(2)]
    config = replace(LORA, steps=20, step=replace(STEP, lifted_share=0.0), learning_rate=5e-3)
    training = Pretraining(tuned_model(), scenes, config, tmp_path / "state")
    training.run(lambda step, terms: losses.append(terms["loss"]))
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])
    fit_embedding(training.model, scenes, seed=0)


def test_a_resumed_training_is_the_same_training(tmp_path: Path) -> None:
    whole, parts = trained(tmp_path / "whole"), trained(tmp_path / "parts")
    whole.run(lambda step, terms: None)

    class KilledError(Exception):
        pass

    def killed(step: int, terms: Mapping[str, float]) -> None:
        if step == 3:
            raise KilledError

    with pytest.raises(KilledError):
        parts.run(killed)
    parts = trained(tmp_path / "parts")
    assert parts.step == 2
    parts.run(lambda step, terms: None)
    states = whole.model.state_dict(), parts.model.state_dict()
    assert states[0]["lora.first.up.0"].any() and states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def card() -> BackboneCard:
    records = tuple(TeacherCard(name, "tiny", dim, "visual", {}) for name, dim in TEACHERS.items())
    return BackboneCard("tiny", 64, records, None, {})


def test_a_file_keeps_the_lora_and_nothing_of_the_teacher(tmp_path: Path) -> None:
    network, file = tuned_model().eval(), tmp_path / "backbone.safetensors"
    torch.nn.init.normal_(network.lora["first"].get_parameter("up.0"))
    write_backbone(network, card(), file)
    with safe_open(file, framework="pt") as opened:
        added = set(opened.keys()) - set(model().state_dict())
        assert json.loads(opened.metadata()["card"])["version"] == VERSION
    assert added == {"lora.first.down.0", "lora.first.up.0"}
    back, _ = open_backbone(file)
    assert back.config == network.config
    back.tune(TinyTeacher())
    maps = (adapted_maps(one, seen_scene(), 0, CPU)["first"] for one in (back, network))
    torch.testing.assert_close(*maps, atol=2e-2, rtol=2e-2)


def test_the_3d_branch_of_such_a_file_needs_neither_teacher_nor_peft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from condense_nerfstudio.backbone.octree import to_nodes

    write_backbone(tuned_model(), card(), tmp_path / "backbone.safetensors")
    monkeypatch.setitem(sys.modules, "peft", None)
    back, _ = open_backbone(tmp_path / "backbone.safetensors")
    assert back(to_nodes(room())).values.isfinite().all()


def test_a_file_from_before_lora_opens(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    file = tmp_path / "backbone.safetensors"
    write_backbone(model(), card(), file)
    with safe_open(file, framework="pt") as opened:
        content = json.loads(opened.metadata()["card"])
    del content["model"]["lora"]
    save_file(load_file(file), file, {"card": json.dumps(content)})
    assert open_backbone(file)[0].config == model().config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lora_rank": -1}, r"--training\.lora-rank is -1: give a positive number, or 0"),
        ({"lora_blocks": 0}, r"--training\.lora-blocks is 0: give a positive number"),
        ({"lora_rank": 2, "step": StepConfig(train_2d=False)}, r"leave out --training\.step\.no-train-2d"),
    ],
)
def test_what_makes_no_sense_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PretrainingConfig(**values)  # pyright: ignore[reportArgumentType]


def test_teachers_that_can_have_none_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Teacher clip can have no LoRA: set --visual\.name to dinov2 or efficientnet"):
        PretrainConfig((tmp_path,), tmp_path, training=PretrainingConfig(lora_rank=2), visual=TeacherConfig("clip"))


def test_a_missing_peft_is_told_before_any_nerf_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    (tmp_path / "capture").mkdir()
    (tmp_path / "capture/transforms.json").write_text("{}")
    with pytest.raises(UserError, match=r"needs the package peft: run pip install 'condense_nerfstudio\[lora\]'"):
        pretrain(PretrainConfig((tmp_path,), tmp_path / "out", training=PretrainingConfig(lora_rank=2)))
    assert not (tmp_path / "out").exists()
