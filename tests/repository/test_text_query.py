"""Text asked of a repository, with a made-up teacher whose words are directions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.cli.main import main
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.repository import text_query, upkeep, vectors
from condense_nerfstudio.repository.log import Entry
from condense_nerfstudio.repository.positions import Positions
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import TextQuestions, amid
from condense_nerfstudio.repository.upkeep import index

from ..keypoints.scenes import TEACHER_DIMS, make_points, make_scene

WORDS = ("nothing", "a cat", "a dog", "a tree", "a house", "a boat")
DIM = TEACHER_DIMS["clip"]


class Speaker:
    """A language teacher of six words."""

    name, dim, patch_size, revision = "clip", DIM, 16, "r2"
    relevancy_temperature, relevancy_threshold = 10.0, 0.5
    canonical_phrases = ("nothing",)

    def encode_image(self, image: Float[Tensor, "h w 3"]) -> Float[Tensor, "hp wp dim"]:
        pytest.fail("text alone is asked about")

    def encode_text(self, phrases: list[str]) -> Float[Tensor, "n dim"]:
        return torch.eye(DIM)[[WORDS.index(phrase) for phrase in phrases]]


@pytest.fixture(autouse=True)
def speaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(text_query, "load_language_teacher", lambda config, device: Speaker())
    yield


def scene(name: str, shown: dict[str, tuple[float, float, float]], seed: int, count: int = 60) -> CondensedScene:
    """Of nothing but things at places, eight key points each, and a stray point for every word."""
    points = make_points(count, seed)
    random = np.random.default_rng(seed)
    features = np.zeros((count, DIM), dtype=np.float16)
    features[:, 0] = 1.0
    positions = points.positions.copy()
    for number, word in enumerate(WORDS[1:]):
        features[number] = 0.0
        features[number, WORDS.index(word)] = 1.0
    for number, (word, place) in enumerate(shown.items()):
        own = slice(10 + 8 * number, 18 + 8 * number)
        features[own] = 0.0
        features[own, WORDS.index(word)] = 1.0
        features[own, 0] = 0.3
        positions[own] = np.array(place) + random.normal(0.0, 0.01, (8, 3))
    both = {"dinov2": points.features["dinov2"], "clip": features}
    return make_scene(count, seed, id=name, positions=positions.astype(np.float32), features=both)


def common(name: str, nothing: float, cat: float, seed: int) -> CondensedScene:
    """Of key points that are all alike: something of nothing, and something of a cat."""
    points = make_points(40, seed)
    features = np.tile(np.eye(DIM)[0] * nothing + np.eye(DIM)[1] * cat, (40, 1)).astype(np.float16)
    return make_scene(40, seed, id=name, features={"dinov2": points.features["dinov2"], "clip": features})


def half_nothing(phrase: str) -> Tensor:
    """A phrase that has half of nothing in it."""
    vector = torch.eye(DIM)[0] + torch.eye(DIM)[WORDS.index(phrase)]
    return vector / vector.norm()


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([
        scene("cat", {"a cat": (0.5, 0.5, 0.0)}, 1),
        scene("cat and dog", {"a cat": (-0.5, 0.0, 0.2), "a dog": (0.6, -0.4, 0.1)}, 2),
        scene("dog", {"a dog": (0.0, 0.7, 0.0)}, 3),
        scene("boat", {"a boat": (0.1, 0.1, 0.9)}, 4),
    ])  # fmt: skip
    return made


def test_the_scene_and_the_place_are_found_and_stray_points_do_not_win(repository: Store) -> None:
    answer = TextQuestions(repository).ask(["a boat"])
    best = answer.hits[0]
    assert best.scene == "boat" and answer.teacher == "clip" and answer.left_out == ()
    assert np.linalg.norm(np.array(best.places[0].position) - (0.1, 0.1, 0.9)) < 0.05
    assert 10 <= best.places[0].keypoint < 18
    assert best.score > 2 * answer.hits[1].score
    assert [hit.scene for hit in TextQuestions(repository).ask(["a cat"], top=2).hits] in (
        ["cat", "cat and dog"], ["cat and dog", "cat"],
    )  # fmt: skip


def test_several_phrases_must_all_be_answered(repository: Store) -> None:
    (best,) = TextQuestions(repository).ask(["a dog", "a cat"], top=1).hits
    assert best.scene == "cat and dog" and best.score == min(place.score for place in best.places)
    for place, expected in zip(best.places, ((0.6, -0.4, 0.1), (-0.5, 0.0, 0.2)), strict=True):
        assert np.linalg.norm(np.array(place.position) - expected) < 0.05


def test_an_index_answers_like_the_exact_search(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = TextQuestions(repository).ask(["a boat"], exact=True)
    for module in (upkeep, vectors):
        monkeypatch.setattr(module, "LEAST_INDEXED", 100)
    monkeypatch.setattr(text_query, "_CANDIDATES", 30)
    for step in (lambda store: None, index):  # before there is an index, and with one
        step(repository)
        found = TextQuestions(repository).ask(["a boat"])
        assert found.hits[0] == exact.hits[0]
        both = TextQuestions(repository).ask(["a cat", "a dog"])
        assert both.hits[0].scene == "cat and dog"


def test_what_negatives_answer_too_does_not_hide_a_scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A phrase's neighbours are not what beats negatives best, where all features have something in common."""
    store = Store(tmp_path / "repo", create=True)
    store.add([common("near", 0.9, 1.0, 1), common("apart", 0.2, 1.0, 2)])
    monkeypatch.setattr(text_query, "_CANDIDATES", 30)
    questions = TextQuestions(store)
    monkeypatch.setattr(
        Speaker, "encode_text", lambda self, phrases: torch.stack([half_nothing(phrase) for phrase in phrases])
    )
    exact = questions.ask(["a cat"], negatives=["nothing"], exact=True)
    monkeypatch.setattr(vectors, "LEAST_INDEXED", 50)
    assert exact.hits[0].scene == "apart"
    assert questions.ask(["a cat"], negatives=["nothing"]).hits[0] == exact.hits[0]
    assert questions.ask(["a cat"]).hits[0].scene == "near"  # alone, what both have in common counts


def test_what_was_replaced_or_removed_is_not_found(repository: Store) -> None:
    repository.add([scene("boat", {"a tree": (0.0, 0.0, 0.0)}, 5)])
    repository.remove("dog")
    answer = TextQuestions(repository).ask(["a tree"])
    assert answer.hits[0].scene == "boat" and {hit.scene for hit in answer.hits} == {"cat", "cat and dog", "boat"}
    assert TextQuestions(repository).ask(["a boat"]).hits[0].score < 0.5


def test_other_revisions_are_left_out_and_told(repository: Store) -> None:
    other = scene("older", {"a boat": (0.0, 0.0, 0.0)}, 6)
    repository.add([replace(other, teachers=(other.teachers[0], replace(other.teachers[1], revision="r1")))])
    answer = TextQuestions(repository).ask(["a boat"])
    assert answer.left_out == ("older",) and answer.hits[0].scene == "boat"
    for name in ("cat", "cat and dog", "dog", "boat"):
        repository.remove(name)
    with pytest.raises(UserError, match=r"another revision of clip \(r1; here r2\)"):
        TextQuestions(repository)


def test_teachers_are_kept_apart(repository: Store) -> None:
    other = scene("foreign", {"a boat": (0.0, 0.0, 0.0)}, 6)
    renamed = replace(other.teachers[1], name="conse")
    features = {"dinov2": other.points.features["dinov2"], "conse": other.points.features["clip"]}
    points = replace(other.points, features=features)
    repository.add([replace(other, teachers=(other.teachers[0], renamed), points=points)])
    with pytest.raises(UserError, match="choose with --teacher"):
        TextQuestions(repository)
    assert TextQuestions(repository, "clip").ask(["a boat"]).left_out == ("foreign",)
    with pytest.raises(UserError, match=r"No scene of .* of dinov2: choose clip and conse"):
        TextQuestions(repository, "dinov2")


def test_bad_questions_are_sentences(repository: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="Nothing was asked"):
        TextQuestions(repository).ask([])
    with pytest.raises(UserError, match="A phrase is empty"):
        TextQuestions(repository).ask([" "])
    with pytest.raises(UserError, match="is empty: add scenes"):
        TextQuestions(Store(tmp_path / "empty", create=True))
    assert main(["query", repository.uri]) == 1 and "Nothing was asked" in capsys.readouterr().err
    assert main(["query", repository.uri, "--text", "a cat", "--top", "0"]) == 1
    assert "--top is 0" in capsys.readouterr().err


def test_the_command_prints_the_contract_s_json(repository: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", repository.uri, "--text", "a dog", "--top", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["query"]["text"] == ["a dog"] and len(told["results"]) == 2
    assert set(told["results"][0]) >= {"scene", "score", "position", "keypoint"}
    assert main(["query", repository.uri, "--text", "a boat", "--top", "1"]) == 0
    assert capsys.readouterr().out.startswith("boat  0.")


def test_one_stray_point_does_not_tell_the_place() -> None:
    positions = np.array([[9.0, 0.0, 0.0], *([[0.1 * i, 1.0, 0.0] for i in range(4)])])
    assert amid(positions) in (2, 3)
    assert amid(positions[:1]) == 0 and amid(np.repeat(positions[:1], 5, axis=0)) == 0


def test_scenes_of_few_key_points_are_asked_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "repo", create=True)
    store.add([tiny("one", ["a cat"]), tiny("two", ["a dog", "a cat"]), tiny("none", ["a tree", "a house", "a dog"])])
    hits = TextQuestions(store).ask(["a cat"]).hits
    assert {hit.scene for hit in hits[:2]} == {"one", "two"} and hits[2].scene == "none"
    assert {hit.scene: hit.places[0].keypoint for hit in hits[:2]} == {"one": 0, "two": 1}


def tiny(name: str, words: list[str]) -> CondensedScene:
    """A scene with one key point for each word."""
    points = make_points(len(words), len(name))
    both = {"dinov2": points.features["dinov2"], "clip": Speaker().encode_text(words).numpy().astype(np.float16)}
    return make_scene(len(words), id=name, features=both)


def test_positions_of_no_more_scenes_than_needed_are_read(repository: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = Positions.of

    def counted(self: Positions, entries: Sequence[Entry], keypoints: Sequence[np.ndarray]) -> list[np.ndarray | None]:
        read.extend(entry.id for entry in entries)
        return original(self, entries, keypoints)

    monkeypatch.setattr(Positions, "of", counted)
    assert len(TextQuestions(repository).ask(["a boat"], top=2).hits) == 2 and read[0] == "boat" and len(read) == 2
    questions = TextQuestions(repository)
    repository.remove("boat")  # the question knows of it still
    assert "boat" not in {hit.scene for hit in questions.ask(["a boat"], top=2).hits}
