"""Backbones on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from condense_nerfstudio.backbone.backbone_file import BackboneCard, open_backbone, write_backbone
from condense_nerfstudio.backbone.octree import to_nodes
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard

from .rooms import TEACHERS, model, room

CARD = BackboneCard(
    "tiny",
    64,
    tuple(TeacherCard(name, "r", dim, "visual", {"layer": None}) for name, dim in TEACHERS.items()),
    None,
    {"seed": 1},
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_backbone(model(), CARD, tmp_path / "backbone.safetensors")
    return tmp_path / "backbone.safetensors"


def test_a_backbone_comes_back_in_half_precision(file: Path) -> None:
    network, (back, card) = model().eval(), open_backbone(file)
    assert card == CARD and back.config == network.config and not back.training
    nodes = to_nodes(room())
    with torch.no_grad():
        torch.testing.assert_close(back(nodes).values, network(nodes).values, atol=5e-3, rtol=5e-3)


def test_other_versions_and_dimensions_are_refused(file: Path) -> None:
    with safe_open(file, framework="pt") as opened:
        content = json.loads(opened.metadata()["card"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    save_file(tensors, file, {"card": json.dumps({**content, "version": 7})})
    with pytest.raises(UserError, match="has version 7, and this program reads 2"):
        open_backbone(file)
    content["model"]["feature_dim"] = 3
    save_file(tensors, file, {"card": json.dumps(content)})
    with pytest.raises(UserError, match="is broken"):
        open_backbone(file)
    save_file(tensors, file, {"something": "else"})
    with pytest.raises(UserError, match="is broken"):
        open_backbone(file)


def test_broken_files_never_crash(file: Path) -> None:
    content, random = file.read_bytes(), np.random.default_rng(0)
    header = int.from_bytes(content[:8], "little") + 8
    for share in (0.0, 0.01, 0.5, 0.99):
        file.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError, match=r"is broken|cannot be read"):
            open_backbone(file)
    for _ in range(100):
        mutated = bytearray(content)
        for place in random.integers(0, header, 3):
            mutated[place] = random.integers(256)
        file.write_bytes(mutated)
        try:
            open_backbone(file)
        except UserError:
            continue


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.safetensors cannot be read"):
        open_backbone(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match=r"cannot be read|is broken"):
        open_backbone(tmp_path)
