"""Photographs asked of a repository: the scene, the pose, or that they were taken elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from condense_nerfstudio.cli.main import main
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints import agreement
from condense_nerfstudio.keypoints.agreement import TAKEN_HERE
from condense_nerfstudio.repository import photo_query, upkeep, vectors
from condense_nerfstudio.repository.photo_query import PhotoQuestions
from condense_nerfstudio.repository.schema import vectors_table
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.upkeep import index

from .places import FOCAL, HEIGHT, WIDTH, Seeing, degrees, photograph, place, pose_from


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([place(name, seed) for seed, name in enumerate(("attic", "barn", "cellar", "dome", "eyrie"), start=1)])
    return made


@pytest.fixture
def look(monkeypatch: pytest.MonkeyPatch):
    """Decides what the detector sees in any photograph."""

    def at(detector: Seeing) -> None:
        monkeypatch.setattr(photo_query, "load_detector", lambda config: detector)

    return at


def test_the_scene_and_the_pose_are_found(repository: Store, look) -> None:
    for number, name in ((2, "barn"), (5, "eyrie")):
        look(Seeing(place(name, number, again=1), pose_from(number)))
        answer = PhotoQuestions(repository).ask(photograph(), top=3)
        found = answer.found
        assert found is not None and found.scene == name and found.score > 0.5 and found is answer.hits[0]
        assert found.camera_to_world is not None and degrees(found.camera_to_world, pose_from(number)) < 0.5
        assert np.linalg.norm(found.camera_to_world[:3, 3] - pose_from(number)[:3, 3]) < 0.05
        # The key point that is told lies in the middle of the photograph.
        local = (np.array(found.position) - pose_from(number)[:3, 3]) @ pose_from(number)[:3, :3]
        assert np.linalg.norm(local[:2]) < 0.5
        assert np.allclose(found.position, repository.scene(name).points.positions[found.keypoint])
        assert all(hit.score < 0.1 and hit.votes < found.votes for hit in answer.hits[1:])


def test_only_the_best_of_very_many_detections_count(repository: Store, look, monkeypatch: pytest.MonkeyPatch) -> None:
    look(Seeing(place("barn", 2, again=1), pose_from(2), clutter=500))
    monkeypatch.setattr(agreement, "BEST", 120)
    found = PhotoQuestions(repository).ask(photograph()).found
    assert found is not None and found.scene == "barn"


def test_a_photograph_of_nowhere_here_is_not_found(repository: Store, look) -> None:
    for scene in (None, place("far away", 77)):
        look(Seeing(scene, pose_from(3), clutter=200))
        answer = PhotoQuestions(repository).ask(photograph())
        assert answer.found is None and all(hit.score < 0.1 for hit in answer.hits)


def test_of_two_scenes_of_one_place_the_one_with_more_inliers_comes_first(repository: Store, look) -> None:
    repository.add([place("barn again", 2, again=1)])
    look(Seeing(place("barn", 2), pose_from(1)))
    answer = PhotoQuestions(repository).ask(photograph(), top=2)
    assert [hit.scene for hit in answer.hits] == ["barn", "barn again"]
    assert answer.hits[0].inliers > answer.hits[1].inliers and answer.hits[1].score > 0.5


def test_a_room_with_the_same_poster_is_another_place(repository: Store, look) -> None:
    """A part that agrees exactly, and from which the pose is found, does not make a photograph one of that room."""
    there, points = place("unknown", 88, count=160), repository.scene("dome").points
    fields = {name: getattr(there.points, name).copy() for name in ("positions", "normals", "descriptors")}
    for name, values in fields.items():
        values[:30] = getattr(points, name)[:30]
    look(Seeing(place("unknown", 88, count=160, **fields), pose_from(6)))
    answer = PhotoQuestions(repository).ask(photograph())
    assert answer.found is None and answer.hits[0].scene == "dome"
    assert answer.hits[0].inliers >= 12 and 0 < answer.hits[0].score < TAKEN_HERE


def test_a_scene_that_its_own_photographs_hardly_show_asks_less_of_others(repository: Store, look) -> None:
    points = place("barn", 2).points
    few = {name: getattr(points, name)[:50] for name in ("positions", "normals", "descriptors")}
    scores = []
    for usual in (None, 0.9, 0.3, 0.0):
        repository.add([replace(place("barn", 2), agreement=usual)])
        look(Seeing(place("barn", 2, count=50, **few), pose_from(2)))
        answer = PhotoQuestions(repository).ask(photograph())
        assert answer.hits[0].scene == "barn"
        scores.append(answer.hits[0].score)
    unknown, often, seldom, never = scores
    assert often < unknown < TAKEN_HERE < seldom <= never <= 1.0
    assert unknown / often == pytest.approx(0.9 / 0.7)


def test_the_focal_length_is_estimated_where_nobody_tells_it(repository: Store, look) -> None:
    look(Seeing(place("dome", 4, again=1), pose_from(4)))
    found = PhotoQuestions(repository).ask(photograph(None)).found
    assert found is not None and found.scene == "dome" and found.focal_length == pytest.approx(FOCAL, rel=0.02)
    told = PhotoQuestions(repository).ask(photograph(None), focal_length=FOCAL).found
    assert told is not None and told.focal_length == pytest.approx(FOCAL)
    wrong = PhotoQuestions(repository).ask(photograph(), focal_length=FOCAL / 3).found
    assert wrong is None or wrong.inliers < told.inliers
    with pytest.raises(UserError, match=r"focal length of -1\.0"):
        PhotoQuestions(repository).ask(photograph(), focal_length=-1.0)


def test_a_large_repository_is_asked_through_its_index(
    repository: Store, look, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(Seeing(place("cellar", 3, again=1), pose_from(3)))
    exact = PhotoQuestions(repository).ask(photograph(), exact=True)
    for module in (upkeep, vectors):
        monkeypatch.setattr(module, "LEAST_INDEXED", 100)
    index(repository)
    found = PhotoQuestions(repository).ask(photograph())
    assert found.found is not None and exact.found is not None
    assert (found.found.scene, found.found.inliers) == (exact.found.scene, exact.found.inliers)


def test_other_revisions_are_left_out_and_told(repository: Store, look) -> None:
    look(Seeing(place("attic", 1, again=1), pose_from(1)))
    old = place("older", 1)
    repository.add([replace(old, detector=replace(old.detector, revision="r0"))])
    assert PhotoQuestions(repository).ask(photograph()).left_out == ("older",)
    for name in ("attic", "barn", "cellar", "dome", "eyrie"):
        repository.remove(name)
    with pytest.raises(UserError, match=r"another revision of the detector \(xfeat r0; here xfeat r3\)"):
        PhotoQuestions(repository)


def test_a_scene_that_is_removed_meanwhile_is_left_out(repository: Store, look) -> None:
    look(Seeing(place("barn", 2, again=1), pose_from(2)))
    questions = PhotoQuestions(repository)
    for table in repository.table_names() - {"scenes"}:
        rows = f"generation = '{repository.entry('barn').generation}'"
        if table != vectors_table(repository.entry("barn").networks[0]):  # votes still find it
            repository.table(table).delete(rows)
    answer = questions.ask(photograph())
    assert answer.found is None and "barn" not in {hit.scene for hit in answer.hits} and answer.hits


def test_a_photograph_without_features_is_a_sentence(repository: Store, look) -> None:
    look(Seeing(None, pose_from(1), clutter=0))
    with pytest.raises(UserError, match="no features"):
        PhotoQuestions(repository).ask(photograph())


def test_the_commands_print_the_contract_s_json(
    repository: Store, look, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "photo.png"
    Image.new("RGB", (WIDTH, HEIGHT), "grey").save(file)
    look(Seeing(place("barn", 2, again=1), pose_from(2)))
    assert main(["locate", repository.uri, "--image", str(file), "--focal", str(FOCAL), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scene"] == "barn" and told["inliers"] > 20 and told["score"] > 0.5
    assert degrees(np.array(told["camera_to_world"]), pose_from(2)) < 0.5
    assert main(["locate", repository.uri, "--image", str(file)]) == 0
    assert capsys.readouterr().out.startswith("barn  ")
    assert main(["query", repository.uri, "--image", str(file), "--top", "2", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results[0]["scene"] == "barn" and len(results) == 2
    assert set(results[0]) >= {"scene", "score", "position", "keypoint"}
    look(Seeing(None, pose_from(1)))
    assert main(["locate", repository.uri, "--image", str(file), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scene"] is None and told["camera_to_world"] is None
    assert main(["locate", repository.uri, "--image", str(file)]) == 0
    assert capsys.readouterr().out == "not found\n"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--focal", "0"], "focal length of 0.0"),
        (["--distortion", "0", "0", "0", "0"], "without --focal"),
        (["--focal", "500", "--distortion", "0.1"], "--distortion has 1 numbers"),
    ],
)
def test_impossible_cameras_are_sentences(
    flags: list[str], said: str, repository: Store, look, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    look(Seeing(None, pose_from(1)))
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "photo.png")
    assert main(["locate", repository.uri, "--image", str(tmp_path / "photo.png"), *flags]) == 1
    assert said in capsys.readouterr().err


def test_one_thing_is_asked_at_a_time(repository: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", repository.uri, "--text", "a cat", "--image", "x.png"]) == 1
    assert "Both --text and --image were given" in capsys.readouterr().err
