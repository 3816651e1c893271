"""LoRA on teachers: what it changes, and what it leaves alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.lora import Lora, LoraShape, TunedTeacher, lora_shape
from condense_nerfstudio.teachers.protocol import TunableTeacher
from condense_nerfstudio.teachers.registry import TEACHER_NAMES, TUNABLE_TEACHER_NAMES, load_teacher

from .tiny_models import save_tiny_clip, save_tiny_dinov2

IMAGE = torch.rand(60, 100, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=["efficientnet", "dinov2", "dinov2 with registers"])
def teacher(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TunableTeacher:
    if request.param == "efficientnet":
        pytest.importorskip("efficientnet_lite_pytorch", reason="the lite extra is not installed")
        loaded = load_teacher(TeacherConfig("efficientnet", resolution=96))
    else:
        folder = tmp_path_factory.mktemp("dinov2")
        save_tiny_dinov2(folder, registers=2 if "registers" in request.param else 0)
        loaded = load_teacher(TeacherConfig("dinov2", model=str(folder), resolution=84))
    assert isinstance(loaded, TunableTeacher)
    return loaded


def test_it_starts_as_the_exact_teacher(teacher: TunableTeacher) -> None:
    torch.manual_seed(0)
    tuned = TunedTeacher(teacher, Lora(lora_shape(teacher, 2, 2)))
    assert torch.equal(tuned.encode(IMAGE), teacher.encode_image(IMAGE))


def test_a_step_trains_the_corrections_and_nothing_of_the_teacher(teacher: TunableTeacher) -> None:
    torch.manual_seed(0)
    lora = Lora(lora_shape(teacher, 2, 2))
    tuned, frozen = TunedTeacher(teacher, lora), teacher.encode_image(IMAGE)
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    optimizer = torch.optim.AdamW(lora.parameters(), lr=0.01)
    for _ in range(2):  # in the first, down has no gradient, since up is zero
        optimizer.zero_grad()
        tuned.encode(IMAGE).square().mean().backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.any() for p in lora.parameters())
    assert all(p.grad is None and not p.requires_grad for p in teacher.network.parameters())
    # Statistics of batch norm, too.
    assert all(torch.equal(value, before[name]) for name, value in teacher.network.state_dict().items())
    assert not torch.allclose(tuned.encode(IMAGE), frozen, rtol=1e-3)
    assert torch.equal(teacher.encode_image(IMAGE), frozen)


def test_only_corrections_are_kept_and_they_are_all_that_is_learned(teacher: TunableTeacher) -> None:
    torch.manual_seed(0)
    shape = lora_shape(teacher, 3, 1)
    lora, back = Lora(shape), Lora(shape)
    nn.init.normal_(lora.up[0], std=0.1)
    assert set(lora.state_dict()) == {f"{part}.{i}" for part in ("down", "up") for i in range(2)}
    back.load_state_dict(lora.state_dict())
    assert torch.equal(TunedTeacher(teacher, back).encode(IMAGE), TunedTeacher(teacher, lora).encode(IMAGE))


def test_last_blocks_are_those_up_to_the_output_and_all_where_there_are_fewer(tmp_path: Path) -> None:
    teacher = load_teacher(TeacherConfig("dinov2", model=str(save_tiny_dinov2(tmp_path)), layer=2, resolution=84))
    assert isinstance(teacher, TunableTeacher)
    assert [name.split(".")[2] for name in teacher.tunable_layers(1)] == ["1", "1"]
    assert len(teacher.tunable_layers(9)) == 4


def test_efficientnet_gets_it_in_the_pointwise_convolutions_of_its_last_blocks() -> None:
    pytest.importorskip("efficientnet_lite_pytorch", reason="the lite extra is not installed")
    teacher = load_teacher(TeacherConfig("efficientnet", layer=1, resolution=64))
    assert isinstance(teacher, TunableTeacher)
    assert lora_shape(teacher, 2, 9).weights == ((16, 32, 1, 1), (96, 16, 1, 1), (24, 96, 1, 1))


def test_corrections_for_another_network_are_refused(teacher: TunableTeacher) -> None:
    with pytest.raises(ValueError, match="are for another network"):
        TunedTeacher(teacher, Lora(LoraShape(2, 1, ((4, 4),))))


def test_the_registry_knows_which_teachers_can_have_it(tmp_path: Path) -> None:
    assert set(TUNABLE_TEACHER_NAMES) == {"efficientnet", "dinov2"} < set(TEACHER_NAMES)
    assert not isinstance(load_teacher(TeacherConfig("clip", model=str(save_tiny_clip(tmp_path)))), TunableTeacher)


def test_a_missing_peft_names_the_extra(teacher: TunableTeacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"needs the package peft: run pip install 'condense_nerfstudio\[lora\]'"):
        TunedTeacher(teacher, Lora(lora_shape(teacher, 2, 1)))
