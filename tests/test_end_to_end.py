"""The commands as a user types them, on a demo scene small enough to train in seconds."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import make_folder
from condense_nerfstudio.keypoints.storage import read_condensed_scene
from condense_nerfstudio.scene.load import load_scene

from .commands import BIN, SMALL, free_port, needs_installation, run
from .teachers.tiny_models import save_tiny_clip

pytestmark = needs_installation


def test_evaluate_prints_one_json_object(config: Path, work: Path) -> None:
    result = json.loads(run("condense", "evaluate", "--load-config", config, "--json", cwd=work).stdout)
    assert 5 < result["psnr"] < 50
    for teacher in ("efficientnet", "conse"):
        features = result["features"][teacher]
        assert -1 <= features["cosine"] <= 1
        assert features["measure"] == "depth" and features["correspondences"] > 0
        for kind in ("consistency_2d_raw", "consistency_2d", "consistency_3d"):
            assert 0 <= features[kind] <= 1
    assert 0 <= result["questions"]["peak"] <= 1


def test_stock_commands_work_on_the_result(config: Path, work: Path) -> None:
    run("ns-eval", "--load-config", config, "--output-path", "eval.json", cwd=work)
    assert json.loads((work / "eval.json").read_text())["results"]["psnr"] > 5
    run(
        "ns-render", "dataset", "--load-config", config, "--output-path", "renders", "--split", "test",
        "--rendered-output-names", "rgb", "efficientnet_pca", cwd=work,
    )  # fmt: skip
    assert len(list((work / "renders/test/efficientnet_pca").iterdir())) >= 1


def test_ns_render_writes_features_and_the_relevancy_of_the_trainings_phrases(longer: Path, work: Path) -> None:
    names = ("relevancy_0", "efficientnet_pca")
    run(
        "ns-render", "dataset", "--load-config", longer, "--output-path", "answers", "--split", "test",
        "--rendered-output-names", *names, cwd=work,
    )  # fmt: skip
    for name in names:
        pictures = [np.asarray(Image.open(file)) for file in (work / "answers/test" / name).rglob("*.jpg")]
        assert pictures and all(picture.std() > 1 for picture in pictures)


def test_the_viewer_serves_its_page(config: Path, work: Path) -> None:
    port = free_port()
    command = [BIN / "ns-viewer", "--load-config", config, "--viewer.websocket-port", str(port)]
    with (work / "viewer.log").open("w") as log:
        viewer = subprocess.Popen(command, cwd=work, stdout=log, stderr=log)
    try:
        page = _page(f"http://127.0.0.1:{port}", viewer)
        assert "<html" in page.lower(), (work / "viewer.log").read_text()[-3000:]
    finally:
        viewer.terminate()
        viewer.wait(30)


def _page(address: str, process: subprocess.Popen) -> str:
    """What a server answers, as soon as it does; nothing where the process ends or two minutes pass."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.read().decode(errors="replace")
        except OSError:
            time.sleep(0.5)
    return ""


def test_export_of_a_point_cloud_works(config: Path, work: Path) -> None:
    pytest.importorskip("open3d", reason="open3d cannot be loaded: make setup says which library it needs")
    run(
        "ns-export", "pointcloud", "--load-config", config, "--output-dir", "cloud", "--num-points", 500,
        "--num-rays-per-batch", 256, "--remove-outliers", False, "--normal-method", "open3d", cwd=work,
    )  # fmt: skip
    assert (work / "cloud/point_cloud.ply").stat().st_size > 1000


def test_training_resumes(config: Path, work: Path) -> None:
    checkpoints = config.parent / "nerfstudio_models"
    run("ns-train", "condense-lite", "--data", "scenes/scene_000", "--load-dir", checkpoints, *SMALL, cwd=work)
    assert [path.name for path in checkpoints.iterdir()] == ["step-000000039.ckpt"]


def test_key_points_are_exported_by_both_commands_alike(longer: Path, work: Path) -> None:
    command = ("condense", "keypoints", "--load-config", longer, "--output-dir", "scenes/room", "--json")
    result = json.loads(run(*command, cwd=work).stdout)
    scene = read_condensed_scene(work / "scenes/room")
    assert result["scene"] == scene.id == "room" and result["keypoints"] == len(scene.points) > 20
    pytest.importorskip("open3d", reason="open3d cannot be loaded: make setup says which library it needs")
    run("ns-export", "condense-keypoints", "--load-config", longer, "--output-dir", "again/room", cwd=work)
    for file in (work / "scenes/room").iterdir():
        assert file.read_bytes() == (work / "again/room" / file.name).read_bytes()
    refused = run(*command, cwd=work, expect=1)
    assert "room exists" in refused.stderr and refused.stdout == ""


def test_the_example_draws_key_points_over_every_held_out_view(longer: Path, work: Path) -> None:
    run("condense", "keypoints", "--load-config", longer, "--output-dir", "scenes/drawn", cwd=work)
    example = Path(__file__).resolve().parents[1] / "examples/02_key_points.py"
    run("python", example, longer, "scenes/drawn", "drawings", cwd=work)
    drawings = list((work / "drawings").iterdir())
    assert len(drawings) == 2 and all(Image.open(file).width == 5 * 2 * 96 for file in drawings)


@pytest.mark.slow
def test_the_example_asks_a_repository_everything(longer: Path, work: Path) -> None:
    for name in ("room", "room_again"):
        run("condense", "keypoints", "--load-config", longer, "--output-dir", f"asked/{name}", cwd=work)
    run("condense", "repo", "add", "repo", "asked", cwd=work)
    photograph = next((work / "scenes/scene_000/images").iterdir())
    example = Path(__file__).resolve().parents[1] / "examples/04_repository.py"
    said = run("python", example, "repo", photograph, "asked/room", "a cat", cwd=work).stdout
    assert "a cat: room" in said and "asked/room: room" in said and f"{photograph}: " in said
    assert "room and room_again are one place" in said


def test_render_leaves_pictures_and_a_summary(longer: Path, work: Path) -> None:
    options = ("--text", "a cat", "--threshold", "0", "--video", "--points")
    run("condense", "render", "--load-config", longer, "--output-dir", "pictures", *options, cwd=work)
    summary = json.loads((work / "pictures/summary.json").read_text())
    assert summary["phrases"] == ["a cat"] and summary["views"] and list(summary["places"]) == ["a cat"]
    sheet = Image.open(work / summary["views"][0]["sheet"])
    assert sheet.width == 6 * 96 and np.asarray(sheet).std() > 10
    assert (work / "pictures/overlay_0.mp4").stat().st_size > 500
    cloud = PlyData.read(str(work / "pictures/highlighted.ply"))["vertex"]
    assert len(cloud.data) and (cloud["relevancy_0"] > 0).all()


def test_condense_trains_with_dinov2_and_clip_from_folders(work: Path, shared: Path) -> None:
    save_tiny_clip(work / "clip")
    run(
        "ns-train", "condense", "--data", "scenes/scene_000", *SMALL,
        "--pipeline.datamanager.visual.model", shared / "weights/dinov2-vits14",
        "--pipeline.datamanager.visual.layer", 9, "--pipeline.datamanager.visual.resolution", 112,
        "--pipeline.datamanager.language.model", "clip", "--pipeline.datamanager.language.resolution", 64,
        "--pipeline.model.log2-hashmap-size", 12, cwd=work,
    )  # fmt: skip
    config = work / "outputs/demo/condense/run/config.yml"
    result = json.loads(run("condense", "evaluate", "--load-config", config, "--json", cwd=work).stdout)
    assert set(result["features"]) == {"dinov2", "clip"}


def test_a_missing_model_is_one_sentence(work: Path) -> None:
    done = run("ns-train", "condense", "--data", "scenes/scene_000", *SMALL, cwd=work, expect=1)
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("condense: ") and "facebook/dinov2-base" in last and "condense-lite" in last
    assert "Traceback" not in done.stdout + done.stderr


def test_a_missing_data_folder_is_one_sentence(work: Path) -> None:
    done = run("ns-train", "condense-lite", "--data", "nowhere", *SMALL, cwd=work, expect=1)
    assert "nowhere does not exist" in done.stderr and "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("command", ["evaluate", "render", "keypoints"])
def test_a_missing_config_is_one_sentence(work: Path, command: str) -> None:
    extra = [] if command == "evaluate" else ["--output-dir", "x"]
    done = run("condense", command, "--load-config", "nowhere.yml", *extra, cwd=work, expect=1)
    assert done.stderr.strip().splitlines()[-1].startswith("condense: Config nowhere.yml does not exist")
    assert not (work / "x").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("hello: 1", "is no training's"),
        ("", "is no training's"),
        ("!!python/object/apply:os.mkdir [made_by_the_config]", "is no training's"),
        ("!!! {{{", "cannot be read"),
        ("!!python/object:nerfstudio.engine.trainer.TrainerConfig {x: !!python/name:no.where ''}", "cannot be read"),
        (None, "is a folder"),
    ],
)
def test_a_config_that_is_none_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "config.yml"
    if content is None:
        config.mkdir()
    else:
        config.write_text(content)
    with pytest.raises(UserError, match=sentence):
        load_scene(config)
    assert [path.name for path in tmp_path.iterdir()] == ["config.yml"]  # no code of the file has run


def test_an_output_folder_that_is_a_file_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match="taken cannot be made"):
        make_folder(tmp_path / "taken")


@pytest.mark.slow
@pytest.mark.parametrize("scene", ["fox", "fountain_p11", "herz_jesus_p8", "7scenes_rgbd", "lund", "sceaux_castle"])
def test_real_captures_train_without_flags(work: Path, shared: Path, scene: str) -> None:
    flags = ["--vis", "tensorboard", "--timestamp", "run", "--max-num-iterations", 3]
    run(
        "ns-train", "condense-lite", "--data", shared / "data" / scene, *flags, "--pipeline.model.feature-start", 0,
        "--experiment-name", scene, cwd=work,
    )  # fmt: skip
    checkpoint = work / f"outputs/{scene}/condense-lite/run/nerfstudio_models/step-000000002.ckpt"
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["pipeline"]
    assert {"_model.heads.efficientnet.mean", "_model.heads.conse.mean"} <= state.keys()
    assert all(torch.isfinite(value).all() for value in state.values() if value.is_floating_point())
