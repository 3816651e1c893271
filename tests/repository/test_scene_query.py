"""Scenes compared with scenes: which are the same place, and how one lies over the other."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from condense_nerfstudio.cli.main import main
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import CondensedScene
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.repository.duplicates import duplicates
from condense_nerfstudio.repository.embedding import embedding
from condense_nerfstudio.repository.scene_query import similar_scenes
from condense_nerfstudio.repository.store import Store

from .places import degrees, place, pose_from


def moved(scene: CondensedScene, seed: int, scale: float) -> tuple[CondensedScene, np.ndarray]:
    """A scene in another frame, and the transform that leads there."""
    transform = pose_from(seed)
    transform[:3, :3] *= scale
    positions = scene.points.positions @ transform[:3, :3].T + transform[:3, 3]
    return replace(scene, points=replace(scene.points, positions=positions.astype(np.float32))), transform


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([place(name, seed) for seed, name in enumerate(("attic", "barn", "cellar", "dome", "eyrie"), start=1)])
    return made


def test_the_same_place_is_found_with_the_transform_to_it(repository: Store) -> None:
    asked, to_asked = moved(place("question", 3, again=1), 9, 4.0)
    answer = similar_scenes(repository, asked, top=3)
    best = answer.hits[0]
    assert best.scene == "cellar" and best.score > 0.8 and best.inliers > 30 and best.query_to_scene is not None
    assert degrees(best.query_to_scene, np.linalg.inv(to_asked)) < 0.5
    assert np.cbrt(np.linalg.det(best.query_to_scene[:3, :3])) == pytest.approx(0.25, rel=0.01)
    assert np.allclose(best.position, repository.scene("cellar").points.positions[best.keypoint])
    assert len(answer.hits) == 3 and all(hit.score < 0.1 for hit in answer.hits[1:])
    assert best.likeness == max(hit.likeness for hit in answer.hits)


def test_a_scene_of_the_repository_finds_itself(repository: Store) -> None:
    best = similar_scenes(repository, repository.scene("dome"), top=1).hits[0]
    assert best.scene == "dome" and best.likeness == pytest.approx(1.0, abs=1e-3) and best.query_to_scene is not None
    assert np.allclose(best.query_to_scene, np.eye(4), atol=1e-3)


def test_scenes_of_another_detector_are_not_compared(repository: Store) -> None:
    other = place("other", 3)
    other = replace(other, detector=replace(other.detector, revision="r0"))
    with pytest.raises(UserError, match=r"No scene of .* descriptors of xfeat r0"):
        similar_scenes(repository, other)
    repository.add([other])
    answer = similar_scenes(repository, other)
    assert [hit.scene for hit in answer.hits] == ["other"] and len(answer.left_out) == 5
    assert duplicates(repository) == []


def test_duplicates_are_found_in_whatever_frame(repository: Store) -> None:
    again, transform = moved(place("barn again", 2, again=1), 4, 0.2)
    third = place("third barn", 2, again=2)
    repository.add([again, third])
    told: list[tuple[int, int]] = []
    found = duplicates(repository, report=lambda done, total: told.append((done, total)))
    assert {(one.a, one.b) for one in found} == {
        ("barn", "barn again"), ("barn", "third barn"), ("barn again", "third barn"),
    }  # fmt: skip
    (first,) = [one for one in found if one.b == "barn again"]
    assert degrees(first.a_to_b, transform) < 0.5 and first.score > 0.8
    assert told[-1] == (len(told), len(told)) and found == sorted(found, key=lambda one: -one.score)


def test_a_shared_piece_is_no_shared_place(repository: Store) -> None:
    """A third of one scene is the same as in another, and lies over it exactly: a near miss."""
    near, piece = place("near barn", 60), repository.scene("barn").points
    own = {name: getattr(near.points, name).copy() for name in ("positions", "normals", "descriptors")}
    for name, values in own.items():
        values[:40] = getattr(piece, name)[:40]
    repository.add([place("near barn", 60, **own)])
    best = similar_scenes(repository, repository.scene("near barn"), top=2).hits[1]
    assert best.scene == "barn" and best.inliers >= 35 and 0.15 < best.score < 0.25
    assert duplicates(repository) == []
    assert [(one.a, one.b) for one in duplicates(repository, least=0.15)] == [("barn", "near barn")]


def test_half_a_place_is_still_the_place(tmp_path: Path) -> None:
    """Of two captures that overlap in part, what lies outside the overlap does not count."""
    whole = place("whole", 5, count=300)
    left = whole.points.positions[:, 0] < 0
    names = [field.name for field in fields(whole.points) if field.name != "features"]
    own = {name: getattr(whole.points, name)[left] for name in names}
    features = {name: values[left] for name, values in whole.points.features.items()}
    half = replace(whole, id="half", points=replace(whole.points, **own, features=features))
    store = Store(tmp_path / "two", create=True)
    store.add([whole, half])
    (pair,) = duplicates(store)
    assert {pair.a, pair.b} == {"half", "whole"} and pair.score > 0.8


def test_only_neighbours_are_compared(tmp_path: Path) -> None:
    made = Store(tmp_path / "many", create=True)
    made.add([place(f"p{seed}", seed, count=20) for seed in range(40)] + [place("p7 again", 7, again=1, count=40)])
    told: list[int] = []
    found = duplicates(made, neighbours=3, report=lambda done, total: told.append(total))
    assert told[-1] <= 3 * 41 < 41 * 40 // 2
    assert all({one.a, one.b} == {"p7", "p7 again"} for one in found)
    with pytest.raises(UserError, match="--neighbours is 0"):
        duplicates(made, neighbours=0)


def test_an_embedding_is_a_unit_vector_that_forgets_the_order() -> None:
    descriptors = place("a", 1).points.descriptors
    found = embedding(descriptors)
    assert found.shape == (16 * 17 // 2,) and np.linalg.norm(found) == pytest.approx(1.0)
    assert np.allclose(found, embedding(descriptors[::-1].copy()), atol=1e-6)
    # Its products are those of the matrix square roots.
    other = place("b", 2).points.descriptors
    roots = []
    for one in (descriptors, other):
        values, vectors = np.linalg.eigh(one.astype(np.float64).T @ one.astype(np.float64))
        root = vectors @ np.diag(np.sqrt(values.clip(0))) @ vectors.T
        roots.append(root / np.linalg.norm(root))
    assert found @ embedding(other) == pytest.approx(float((roots[0] * roots[1]).sum()), abs=1e-5)


def test_the_commands_print_the_contract_s_json(
    repository: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_condensed_scene(place("question", 3, again=1), tmp_path / "question")
    assert main(["query", repository.uri, "--scene", str(tmp_path / "question"), "--top", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["results"][0]["scene"] == "cellar" and len(told["results"]) == 2
    assert set(told["results"][0]) >= {"scene", "score", "position", "keypoint"}
    assert main(["duplicates", repository.uri]) == 0
    assert capsys.readouterr().out == "no duplicates\n"
    repository.add([place("cellar again", 3, again=1)])
    assert main(["duplicates", repository.uri, "--json"]) == 0
    (pair,) = json.loads(capsys.readouterr().out)["pairs"]
    assert (pair["a"], pair["b"]) == ("cellar", "cellar again") and np.allclose(pair["a_to_b"], np.eye(4), atol=0.05)
    assert pair["inliers"] > 30 and pair["score"] > 0.8
    assert main(["query", repository.uri, "--scene", str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err
