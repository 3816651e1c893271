"""The viewer's controls, driven without a browser."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from nerfstudio.viewer.viewer import Viewer
from plyfile import PlyData

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.ray_answers import look_along
from condense_nerfstudio.teachers.text import TextEncoder
from condense_nerfstudio.viewer.ask import NO_LANGUAGE
from condense_nerfstudio.viewer.panel import Panel, warn_if_open
from condense_nerfstudio.viewer.place import box_bars
from condense_nerfstudio.viewer.points import PICK_ANGLE, nearest_to_ray
from condense_nerfstudio.viewer.session import Turn

from .conftest import Stage


def press(button: Any) -> None:
    """Clicks a button."""
    button.value = True


def ask(stage: Stage, *phrases: str) -> None:
    """Types phrases and waits for the answer."""
    lines = stage.panel.ask.lines
    for line, phrase in zip(lines, [*phrases, *[""] * (len(lines) - len(phrases))], strict=True):
        line.value = phrase
    stage.idle()


@pytest.fixture(autouse=True)
def fresh(stage: Stage) -> None:
    """Every test begins with nothing asked."""
    ask(stage)
    stage.panel.ask.negatives.value = ""
    stage.panel.ask.threshold.value = 0.18
    stage.panel.colors.overlay.value = "answers"
    stage.idle()


def test_nerfstudio_finds_the_panel_once_and_hands_over_its_viewer(stage: Stage) -> None:
    assert [type(element) for _, element in stage.viewer.viewer_elements] == [Panel]
    assert stage.panel.session.viewer is stage.viewer
    with stage.pipeline.model.lock:
        assert stage.lock.locked()
    assert not stage.lock.locked()


def test_every_phrase_becomes_an_output_and_colours_what_answers_it(stage: Stage) -> None:
    plain = stage.seen()
    ask(stage, "a cat", "a rocket")
    # The scene is hardly trained: what answers a little answers.
    threshold = float(torch.cat([stage.seen()[f"relevancy_{i}"] for i in range(2)]).quantile(0.9))
    stage.panel.ask.threshold.value = threshold
    stage.idle()
    seen = stage.seen()
    assert {"relevancy_0", "relevancy_1", "answers"} <= set(seen) and "relevancy_2" not in seen
    assert "relevancy_0" in stage.panel.ask.message.content and "a rocket" in stage.panel.ask.message.content
    relevancy = torch.cat([seen["relevancy_0"], seen["relevancy_1"]], dim=-1).amax(dim=-1)
    changed = (seen["rgb"] - plain["rgb"]).abs().amax(dim=-1) > 0.02
    assert 0.01 < changed.float().mean() < 0.9 and relevancy[changed].min() >= 0.9 * threshold
    for name in ("depth", "efficientnet_pca"):
        torch.testing.assert_close(seen[name], plain[name])


def test_a_training_that_evaluates_itself_sees_no_overlay(stage: Stage) -> None:
    ask(stage, "a cat")
    evaluated = stage.pipeline.model.get_outputs_for_camera(stage.camera)
    ask(stage)
    torch.testing.assert_close(evaluated["rgb"], stage.seen()["rgb"])
    assert "answers" not in evaluated


def test_lines_appear_as_they_are_filled(stage: Stage) -> None:
    ask(stage, "a cat", "a dog", "a fox")
    assert [line.visible for line in stage.panel.ask.lines] == [True] * 4 + [False] * 4
    ask(stage)
    assert sum(line.visible for line in stage.panel.ask.lines) == 1


def test_negatives_lower_what_resembles_them(stage: Stage) -> None:
    ask(stage, "a cat")
    before = stage.seen()["relevancy_0"]
    stage.panel.ask.negatives.value = "a cat, a tabby"
    stage.idle()
    after = stage.seen()["relevancy_0"]
    assert (after <= before + 1e-6).all() and after.max() <= 0.5 + 1e-6


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [("x" * 10_000, "10000 characters"), ("a\x00cat", "control characters"), ("a\u202ecat", "control characters")],
)
def test_what_cannot_be_asked_is_told_and_the_last_answer_stays(stage: Stage, typed: str, sentence: str) -> None:
    ask(stage, "a cat")
    stage.panel.ask.lines[0].value = typed
    stage.idle()
    assert sentence in stage.panel.ask.message.content
    assert stage.panel.session.lens.phrases == ("a cat",) and "relevancy_0" in stage.seen()


@pytest.mark.parametrize(("sent", "used"), [(-3.0, 0.0), (7.0, 1.0), (float("nan"), 1.0), (0.4, 0.4)])
def test_a_threshold_outside_its_range_is_the_nearest_inside(stage: Stage, sent: float, used: float) -> None:
    stage.panel.ask.threshold.value = sent
    stage.panel.colors.opacity.value = sent
    stage.idle()
    assert stage.panel.session.lens.threshold == used and stage.panel.session.lens.opacity == used


def solid_pixel(stage: Stage) -> tuple[int, int]:
    """The pixel that shows a surface most surely."""
    rays = stage.camera.generate_rays(0)
    answers = look_along(stage.pipeline.model, rays.flatten())
    doubt = answers.spread / answers.distance + (answers.accumulation < 0.99)
    row, column = divmod(int(doubt.argmin()), rays.shape[1])
    return row, column


def test_a_click_tells_the_position_in_the_data_sets_frame_words_and_similarity(stage: Stage) -> None:
    row, column = solid_pixel(stage)
    click = stage.panel.click
    click.teacher.value = "conse"
    click.ask(stage.ray_through(row, column))
    stage.idle()
    rays = stage.camera.generate_rays(0)[row, column]
    seen = stage.seen()
    position = (rays.origins + seen["depth"][row, column] * rays.directions).double().numpy()
    frame = stage.pipeline.datamanager.world_to_nerf()
    expected = np.linalg.solve(frame[:3, :3], position - frame[:3, 3])
    spot = click._spots[-1]
    assert np.linalg.norm(spot.position - expected) < 0.05 * np.linalg.norm(frame[:3, :3] @ expected) + 0.05
    assert seen["similarity"][row, column].item() > 0.95 > seen["similarity"].min().item()
    assert stage.panel.colors.overlay.value == "similarity"
    lines = click.message.content.replace("\\", "").split("\n\n")
    assert lines[0].startswith("Position: ")
    scores = [float(line.rsplit(": ", 1)[1]) for line in lines[-5:]]
    assert scores == sorted(scores, reverse=True)
    press(click.clear)
    stage.idle()
    assert "similarity" not in stage.seen() and stage.panel.colors.overlay.value == "answers"


def test_two_clicks_measure_a_distance(stage: Stage) -> None:
    row, column = solid_pixel(stage)
    for _ in range(2):
        stage.panel.click.ask(stage.ray_through(row, column))
        stage.idle()
    assert "Distance from the point before: 0" in stage.panel.click.message.content.replace("\\", "")
    press(stage.panel.click.clear)
    stage.idle()


def test_a_click_on_the_sky_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    row, column = solid_pixel(stage)
    monkeypatch.setattr("condense_nerfstudio.scene.surface_cloud.LEAST_ACCUMULATION", 2.0)
    stage.panel.click.ask(stage.ray_through(row, column))
    stage.idle()
    assert "There is no surface" in stage.panel.click.message.content and not stage.panel.click._spots


def test_refitted_colours_stay_until_they_are_restored(stage: Stage) -> None:
    before = stage.seen()["efficientnet_pca"]
    stage.panel.colors.fit(stage.camera, lambda what, share: None)
    after = stage.seen()["efficientnet_pca"]
    assert (after - before).abs().max() > 0.1 and after.std() > 0.1
    torch.testing.assert_close(stage.seen()["efficientnet_pca"], after)
    press(stage.panel.colors.restore)
    stage.idle()
    torch.testing.assert_close(stage.seen()["efficientnet_pca"], before)


class Scene:
    """Takes down what is drawn."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
        self.clouds: list[tuple[str, np.ndarray, Any]] = []
        scene = stage.viewer.viser_server.scene
        draw = scene.add_point_cloud

        def add_point_cloud(name: str, points: np.ndarray, colors: Any, *arguments: Any, **options: Any) -> Any:
            self.clouds.append((name, points, colors))
            return draw(name, points, colors, *arguments, **options)

        monkeypatch.setattr(scene, "add_point_cloud", add_point_cloud)


def test_key_points_are_drawn_in_one_call_where_they_are(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    scene, points = Scene(monkeypatch, stage), stage.panel.points
    press(points.find)
    stage.idle()
    assert points._scene is not None and len(scene.clouds) == 1, points.message.content
    found = points._scene.points
    points.count.value = 30
    stage.idle()
    _, drawn, _ = scene.clouds[-1]
    best = np.argsort(-found.scores, kind="stable")[:30]
    frame = stage.pipeline.datamanager.world_to_nerf()
    expected = 10.0 * (found.positions[best] @ frame[:3, :3].T + frame[:3, 3])
    assert len(drawn) == 30 and np.abs(drawn - expected).max() < 0.01 * np.ptp(expected)
    ask(stage, "a cat")
    pictures = []
    for coloring in ("score", "RGB", "conse features", "efficientnet features", "relevancy"):
        points.coloring.value = coloring
        stage.idle()
        pictures.append(scene.clouds[-1][2])
    assert all(colors.shape == (30, 3) for colors in pictures)
    assert len({colors.tobytes() for colors in pictures}) == 5
    drawings = len(scene.clouds)
    ask(stage, "a rocket")
    assert len(scene.clouds) > drawings and (scene.clouds[-1][2] != pictures[-1]).any()
    points.count.value = 10**9
    stage.idle()
    assert len(scene.clouds[-1][1]) == len(found)


def test_a_click_describes_the_key_point_that_is_meant(stage: Stage) -> None:
    points = stage.panel.points
    if points._scene is None:
        press(points.find)
        stage.idle()
    assert points._scene is not None
    target = int(points._best()[0])
    eye = np.array([1.0, 2.0, 3.0])
    direction = stage.panel.session.to_viser(points._scene.points.positions[target : target + 1])[0] - eye
    points.pick(((1.0, 2.0, 3.0), (float(direction[0]), float(direction[1]), float(direction[2]))))
    content = points.message.content.replace("\\", "").replace("*", "")
    assert "Seen by" in content and "conse (language): 384 numbers" in content and "xfeat" in content


def test_the_nearest_point_within_the_angle_is_picked() -> None:
    eye, ahead = np.zeros(3), np.array([0.0, 0.0, 2.0])
    positions = np.array([[0, 0, 9.0], [0.01, 0, 5.0], [1.0, 0, 3.0], [0, 0, -1.0]])
    assert nearest_to_ray(positions, eye, ahead) == 1
    assert nearest_to_ray(positions[2:], eye, ahead) is None
    assert PICK_ANGLE < 0.1


def test_a_region_has_a_box_and_its_points_are_saved_in_the_trainings_folder_only(stage: Stage) -> None:
    place, folder = stage.panel.place, stage.viewer.log_filename.parent
    press(place.find)
    stage.idle()
    assert "type one first" in place.message.content
    ask(stage, "a cat")
    stage.panel.ask.threshold.value = 1.0
    stage.idle()
    press(place.find)
    stage.idle()
    assert "lower the threshold" in place.message.content and not place.save.visible
    stage.panel.ask.threshold.value = 0.01
    stage.idle()
    press(place.find)
    stage.idle()
    assert "Centroid" in place.message.content and place.save.visible
    for name in ("../out.ply", "/tmp/out.ply", "a/b.ply", "out.txt", "", "x" * 300 + ".ply", "a\x00.ply"):
        place.file.value = name
        press(place.save)
        stage.idle()
        assert "no name of a file" in place.message.content
    assert not list(folder.rglob("*.ply")) and not list(folder.parent.rglob("*.ply"))
    press(place.find)
    stage.idle()
    place.file.value = "the cat (1).ply"
    press(place.save)
    stage.idle()
    saved = PlyData.read(str(folder / "viewer_exports/the cat (1).ply"))["vertex"]
    assert len(saved.data) == len(place._found[1]) if place._found else False
    assert (saved["relevancy_0"] > 0.01).all()


def test_the_box_is_drawn_as_its_twelve_edges() -> None:
    box = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]])
    vertices, faces = box_bars(box)
    assert len(faces) == 12 * 12 and faces.max() == len(vertices) - 1
    assert np.abs(vertices.min(axis=0) - box[0]).max() < 0.05 and np.abs(vertices.max(axis=0) - box[1]).max() < 0.05


def test_work_is_shown_and_can_be_cancelled(stage: Stage) -> None:
    panel, started = stage.panel, threading.Event()

    def endless(progress: Callable[[str, float], None]) -> None:
        while True:
            progress("Searching", 0.5)
            started.set()

    panel.session.work.start("search", endless, lambda why: None)
    assert started.wait(5.0)
    assert panel.status.visible and panel.cancel.visible and panel.bar.value == 50.0
    press(panel.cancel)
    stage.idle()
    assert not panel.status.visible and not panel.bar.visible and not panel.cancel.visible


def test_looks_at_the_scene_wait_for_the_training_and_leave_it_training(stage: Stage) -> None:
    row, column = solid_pixel(stage)
    model = stage.pipeline.model
    model.train()
    try:
        with stage.lock:
            stage.panel.click.ask(stage.ray_through(row, column))
            assert not stage.panel.session.work.wait(0.5)
        stage.idle()
        assert model.training and model.field.training
    finally:
        model.eval()


def test_sharp_pictures_wait_for_an_answer(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    session, started, over, rerendered = stage.panel.session, threading.Event(), threading.Event(), []
    monkeypatch.setattr(session, "rerender", lambda **options: rerendered.append(1))

    def search(progress: Callable[[str, float], None]) -> None:
        started.set()
        assert over.wait(30.0)

    session.work.start("search", search, pytest.fail)
    assert started.wait(5.0)
    assert "rgb" in stage.seen("low_move") and not stage.seen("high") and not rerendered
    over.set()
    stage.idle()
    assert rerendered == [1] and "rgb" in stage.seen("high")


def test_a_picture_under_way_gives_way_to_a_look() -> None:
    lock, interrupted = threading.Lock(), threading.Event()
    lock.acquire()

    def give_way() -> None:
        interrupted.set()
        lock.release()  # as a view that is interrupted does

    with Turn(lock, 0.05, give_way):
        assert interrupted.is_set() and lock.locked()
    assert not lock.locked()
    with Turn(lock, 0.05, pytest.fail):
        assert lock.locked()


def test_a_language_teacher_that_cannot_be_loaded_disables_the_text(
    staged: Callable[[], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged()

    def missing(encoder: TextEncoder, phrases: tuple[str, ...]) -> None:
        raise UserError("Teacher clip needs facebook/clip: pass a folder, or train with condense-lite.")

    monkeypatch.setattr(TextEncoder, "encode", missing)
    stage.panel.ask.prepare()
    stage.idle()
    assert "Teacher clip needs" in stage.panel.ask.message.content
    assert all(line.disabled for line in stage.panel.ask.lines) and stage.panel.ask.threshold.disabled
    assert "rgb" in stage.seen()


def test_a_scene_without_a_language_teacher_says_so(
    staged: Callable[[], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged()
    monkeypatch.setattr(stage.pipeline.model, "text", None)
    panel = Panel(stage.pipeline)
    panel.install(stage.viewer.viser_server)
    assert panel.ask.message.content.replace("\\", "") == NO_LANGUAGE
    assert panel.ask.lines[0].disabled and panel.place.find.disabled and panel.click.vocabulary.disabled
    panel.click.ask(stage.ray_through(*solid_pixel(stage)))
    assert panel.session.work.wait(30.0) and "Position" in panel.click.message.content


def test_a_scene_without_any_teacher_or_key_points_has_a_panel_nevertheless(
    staged: Callable[[], Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = staged()
    model = stage.pipeline.model
    monkeypatch.setattr(model, "text", None)
    model.heads, model.feature_field, model.keypoints = torch.nn.ModuleDict(), None, None
    panel = Panel(stage.pipeline)
    panel.install(stage.viewer.viser_server)
    assert panel.points.find.disabled and "key-point head" in panel.points.message.content.replace("\\", "")
    assert panel.click.teacher.disabled and panel.colors.refit.disabled
    assert set(stage.seen()) >= {"rgb", "depth"}


@pytest.mark.parametrize(
    ("host", "warns"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True), ("::", True)]
)
def test_a_viewer_that_listens_wider_says_so(host: str, warns: bool, capsys: pytest.CaptureFixture[str]) -> None:
    warn_if_open(host)
    assert ("without a password" in " ".join(capsys.readouterr().out.split())) is warns


def test_a_rerender_without_browsers_is_nothing(stage: Stage) -> None:
    assert isinstance(stage.viewer, Viewer)
    stage.panel.session.rerender()


def test_nothing_is_written_beside_the_exports(stage: Stage) -> None:
    folder: Path = stage.viewer.log_filename.parent
    assert {path.name for path in folder.iterdir()} <= {"viewer_exports"}
