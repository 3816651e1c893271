"""`condense repo`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from condense_nerfstudio.cli.main import main
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.repository.schema import POINTS
from condense_nerfstudio.repository.store import Store

from ..keypoints.scenes import make_scene


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    for i, name in enumerate(("cave", "garden")):
        write_condensed_scene(make_scene(20, i, id=name, name=f"The {name}"), tmp_path / "scenes" / name)
    return tmp_path / "scenes"


def ask(capsys: pytest.CaptureFixture[str], *words: object, expect: int = 0) -> dict:
    assert main([*map(str, words), "--json"]) == expect
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([*map(str, words)]) == 1
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("condense: ")]
    assert captured.out == "" and len(lines) == 1
    return lines[0]


def test_scenes_come_and_go(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = tmp_path / "repo"
    assert ask(capsys, "repo", "add", repo, scenes) == {"added": ["cave", "garden"]}
    listed = ask(capsys, "repo", "list", repo)["scenes"]
    assert [(row["scene"], row["name"], row["keypoints"]) for row in listed] == [
        ("cave", "The cave", 20), ("garden", "The garden", 20),
    ]  # fmt: skip
    assert listed[0]["teachers"] == ["dinov2 r1", "clip r2"]
    assert ask(capsys, "repo", "index", repo)["cleared"] == 0
    assert ask(capsys, "repo", "verify", repo) == {"scenes": 2, "faults": []}
    assert ask(capsys, "repo", "remove", repo, "cave") == {"removed": ["cave"]}
    assert main(["repo", "list", str(repo)]) == 0
    assert capsys.readouterr().out.startswith("garden  The garden  20")


def test_a_faulty_scene_is_named_and_the_others_are_added(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scenes / "cave/keypoints.ply").write_bytes(b"ply")
    write_condensed_scene(make_scene(5, 3, id="garden"), scenes / "zoo")
    said = refusal(capsys, "repo", "add", tmp_path / "repo", scenes)
    assert "1 scenes were added, 2 were not" in said and "cave" in said and "both called garden" in said
    assert [row["scene"] for row in ask(capsys, "repo", "list", tmp_path / "repo")["scenes"]] == ["garden"]


def test_no_repository_is_made_where_nothing_can_be_added(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = scenes / "cave/scene.json"
    header.write_text(header.read_text().replace('"id": "cave"', '"id": "../x"'))
    said = refusal(capsys, "repo", "add", tmp_path / "repo", scenes / "cave")
    assert "id: '../x' is not a name without slashes" in said
    assert not (tmp_path / "repo").exists()


def test_mistakes_are_sentences(scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repo = tmp_path / "repo"
    assert "There is no repository" in refusal(capsys, "repo", "list", repo)
    assert "is a folder of something else" in refusal(capsys, "repo", "add", scenes, scenes / "cave")
    assert "holds no condensed scene" in refusal(capsys, "repo", "add", repo, tmp_path / "nothing")
    assert "No scene was named" in refusal(capsys, "repo", "add", repo)
    ask(capsys, "repo", "add", repo, scenes / "cave")
    assert "has no scene '../x'" in refusal(capsys, "repo", "remove", repo, "cave", "../x")
    assert "No scene was named" in refusal(capsys, "repo", "remove", repo)
    assert [row["scene"] for row in ask(capsys, "repo", "list", repo)["scenes"]] == ["cave"]
    said = refusal(capsys, "query", repo, "--text", "a cat", "--focal", "800")
    assert "--focal goes with --image, and --text was given" in said
    assert "--text was given more than once" in refusal(capsys, "query", repo, "--text", "a cat", "--text", "a dog")


def test_scenes_added_after_an_index_are_no_fault_where_all_are_compared(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = tmp_path / "repo"
    ask(capsys, "repo", "add", repo, scenes / "cave")
    ask(capsys, "repo", "index", repo)
    ask(capsys, "repo", "add", repo, scenes / "garden")
    assert main(["repo", "verify", str(repo)]) == 0
    assert capsys.readouterr().out == "scenes  2\nno faults\n"


def test_a_damaged_repository_is_told_in_one_sentence(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = tmp_path / "repo"
    ask(capsys, "repo", "add", repo, scenes)
    for file in (repo / f"{POINTS}.lance/data").iterdir():
        file.unlink()
    assert "is damaged" in refusal(capsys, "query", repo, "--scene", scenes / "cave")
    assert "is damaged" in refusal(capsys, "duplicates", repo)
    faults = ask(capsys, "repo", "verify", repo, expect=1)["faults"]
    assert {"cave", "garden"} <= {fault.get("scene") for fault in faults}


def test_a_scene_of_the_repository_is_asked_by_its_id(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = tmp_path / "repo"
    ask(capsys, "repo", "add", repo, scenes)
    assert ask(capsys, "query", repo, "--scene", "garden")["results"][0]["scene"] == "garden"
    assert "is no condensed scene" in refusal(capsys, "query", repo, "--scene", "zoo")
    assert main(["duplicates", str(repo)]) == 0


def test_a_repository_with_faults_is_no_success(
    scenes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ask(capsys, "repo", "add", tmp_path / "repo", scenes)
    store = Store(tmp_path / "repo")
    store.table(POINTS).delete(f"generation = '{store.entry('cave').generation}' AND index = 0")
    (fault,) = ask(capsys, "repo", "verify", tmp_path / "repo", expect=1)["faults"]
    assert fault["scene"] == "cave"
