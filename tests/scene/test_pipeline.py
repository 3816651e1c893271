"""The whole method in a few training steps: every output, checkpoints, and what happens when they do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle
from nerfstudio.engine.trainer import Trainer

from condense_nerfstudio.scene.lens import Lens
from condense_nerfstudio.scene.pipeline import CondensePipeline
from condense_nerfstudio.teachers.config import TeacherConfig

from .trainings import small_config, small_pipeline_config, trained, write_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture and tiny random teachers."""
    return write_folder(tmp_path_factory.mktemp("method"))


@pytest.fixture(scope="module")
def trainer(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Two steps of training."""
    return trained(small_config(folder, tmp_path_factory.mktemp("outputs")))


@pytest.fixture
def pipeline(trainer: Trainer) -> CondensePipeline:
    """The trained pipeline, ready to render."""
    assert isinstance(trainer.pipeline, CondensePipeline)
    trainer.pipeline.eval()
    trainer.pipeline.model.config.phrases = ()
    return trainer.pipeline


def _rays(pipeline: CondensePipeline) -> RayBundle:
    return pipeline.datamanager.next_train(0)[0]


def test_a_training_step_moves_every_group_of_parameters(trainer: Trainer) -> None:
    pipeline = trainer.pipeline
    pipeline.train()
    before = {name: [p.detach().clone() for p in group] for name, group in pipeline.get_param_groups().items()}
    assert set(before) == {"proposal_networks", "fields", "features", "adapters", "camera_opt"}
    for step in range(2):
        _, losses, _ = trainer.train_iteration(step)
        assert all(torch.isfinite(value) for value in losses.values())
    for name, group in pipeline.get_param_groups().items():
        assert any(not torch.equal(old, new) for old, new in zip(before[name], group, strict=True)), name
    for teacher in ("dinov2", "clip"):
        assert {f"{teacher}_consistency", f"{teacher}_anchor_2d", f"{teacher}_anchor_3d"} <= set(losses)


def test_the_same_seed_gives_the_same_numbers(folder: Path, tmp_path: Path) -> None:
    states = []
    for run in ("first", "second"):
        torch.manual_seed(0)
        states.append(trained(small_config(folder, tmp_path / run)).pipeline.state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_outputs_are_pictures_for_every_teacher_and_phrase(pipeline: CondensePipeline) -> None:
    pipeline.model.config.phrases = ("a cat", "a dog")
    camera, _ = pipeline.datamanager.next_eval_image(0)
    outputs = pipeline.model.get_outputs_for_camera(camera)
    widths = {name: value.shape for name, value in outputs.items()}
    assert widths == {
        "rgb": (48, 64, 3),
        "accumulation": (48, 64, 1),
        "depth": (48, 64, 1),
        "expected_depth": (48, 64, 1),
        "dinov2_pca": (48, 64, 3),
        "clip_pca": (48, 64, 3),
        "keypoints": (48, 64, 1),
        "relevancy_0": (48, 64, 1),
        "relevancy_1": (48, 64, 1),
    }
    for name in ("rgb", "dinov2_pca", "clip_pca", "relevancy_0", "relevancy_1"):
        assert outputs[name].min() >= 0 and outputs[name].max() <= 1


def test_all_chunks_of_a_view_answer_the_questions_with_which_it_started(
    pipeline: CondensePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [Lens(("a cat",)), Lens(("a cat", "a dog"))]
    monkeypatch.setattr(pipeline.model, "choose_lens", lambda: asked.pop())
    monkeypatch.setattr(pipeline.model.config, "eval_num_rays_per_chunk", 500)
    camera, _ = pipeline.datamanager.next_eval_image(0)
    for count in (2, 1):
        outputs = pipeline.model.get_outputs_for_camera(camera)
        assert sum(name.startswith("relevancy") for name in outputs) == count
    assert not asked


def test_what_resembles_a_negative_does_not_beat_it(
    pipeline: CondensePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline.model.config, "phrases", ("a cat",))
    camera, _ = pipeline.datamanager.next_eval_image(0)
    before = pipeline.model.get_outputs_for_camera(camera)["relevancy_0"]
    monkeypatch.setattr(pipeline.model.config, "negatives", ("a cat",))
    after = pipeline.model.get_outputs_for_camera(camera)["relevancy_0"]
    assert (after <= before + 1e-6).all() and after.max() <= 0.5 + 1e-6


def test_pca_colours_do_not_depend_on_the_rest_of_the_view(pipeline: CondensePipeline) -> None:
    rays = _rays(pipeline)
    whole, part = pipeline.model(rays), pipeline.model(rays[:7])
    torch.testing.assert_close(whole["dinov2_pca"][:7], part["dinov2_pca"], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("bend", [False, True])
def test_features_bend_geometry_only_if_asked(pipeline: CondensePipeline, bend: bool) -> None:
    pipeline.train()
    pipeline.model.config.features_bend_geometry = bend
    rays, batch = pipeline.datamanager.next_train(0)
    losses = pipeline.model.get_loss_dict(pipeline.model(rays), batch, {"distortion": torch.zeros(())})
    pipeline.zero_grad()
    torch.stack([value for name, value in losses.items() if name.startswith("dinov2")]).sum().backward()
    pipeline.model.config.features_bend_geometry = False
    moved = [p for p in pipeline.model.field.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
    assert bool(moved) is bend


def test_checkpoints_hold_no_teacher_and_open_without_one(folder: Path, pipeline: CondensePipeline) -> None:
    state = pipeline.state_dict()
    assert all(key.startswith("_model.") for key in state)
    # The tiny teachers' own weights: their word and position embeddings would show.
    assert not [key for key in state if "embeddings" in key or "encoder" in key]
    config = small_pipeline_config(folder)
    config.datamanager.visual.model = str(folder / "gone")
    config.datamanager.language.model = str(folder / "gone")
    viewed = config.setup(device="cpu", test_mode="test")
    viewed.load_pipeline(state, 2)
    viewed.eval()
    pipeline.model.proposal_sampler.set_anneal(1.0)  # as after training
    rays = _rays(pipeline)
    expected, got = pipeline.model(rays), viewed.model(rays)
    for name in ("rgb", "depth", "dinov2_pca", "clip_pca"):
        torch.testing.assert_close(got[name], expected[name])


def test_a_checkpoint_of_another_teacher_is_refused(
    folder: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_pipeline_config(folder)
    config.datamanager.visual = TeacherConfig(name="none")
    pipeline = config.setup(device="cpu", test_mode="val")
    with pytest.raises(SystemExit) as error:
        pipeline.load_pipeline(trainer.pipeline.state_dict(), 2)
    assert error.value.code == 1
    message = capsys.readouterr().err
    assert "dinov2 (" in message and "--pipeline.datamanager.visual" in message and "Traceback" not in message


def test_a_checkpoint_of_other_sizes_is_refused(
    folder: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_pipeline_config(folder)
    config.model.hidden_dim_color = 32
    pipeline = config.setup(device="cpu", test_mode="test")
    with pytest.raises(SystemExit):
        pipeline.load_pipeline(trainer.pipeline.state_dict(), 2)
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("condense: The checkpoint does not fit") and "size mismatch" in message


def test_training_resumes_where_it_was(folder: Path, trainer: Trainer, tmp_path: Path) -> None:
    config = small_config(folder, tmp_path)
    config.load_dir = trainer.checkpoint_dir
    resumed = trained(config)
    assert resumed.step == 3
    assert [path.name for path in resumed.checkpoint_dir.iterdir()] == ["step-000000003.ckpt"]


def test_the_same_teacher_twice_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small_pipeline_config(folder)
    config.datamanager.visual = config.datamanager.language
    with pytest.raises(SystemExit):
        config.setup(device="cpu", test_mode="val")
    assert "both clip" in capsys.readouterr().err


def test_without_teachers_it_is_a_plain_nerf(folder: Path) -> None:
    config = small_pipeline_config(folder)
    config.datamanager.visual = TeacherConfig(name="none")
    config.datamanager.language = TeacherConfig(name="none")
    pipeline = config.setup(device="cpu", test_mode="val")
    assert "features" not in pipeline.get_param_groups()
    pipeline.eval()
    assert set(pipeline.model(_rays(pipeline))) == {"rgb", "accumulation", "depth", "expected_depth"}
