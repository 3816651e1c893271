"""The panel's questions to a repository, driven without a browser and without a NeRF."""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import viser
from PIL import Image
from viser import GuiEvent

from condense_nerfstudio.repository import photo_query, text_query
from condense_nerfstudio.repository.photo_query import PhotoAnswer, PhotoHit
from condense_nerfstudio.repository.portrait import MARKS, SIZE
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import Place, TextAnswer, TextHit
from condense_nerfstudio.scene.model import CondenseModel
from condense_nerfstudio.viewer import repository as module
from condense_nerfstudio.viewer.opened_scene import NODE, Eye, miniature, over, placed
from condense_nerfstudio.viewer.repository import Repository
from condense_nerfstudio.viewer.session import Session

from ..commands import free_port
from ..keypoints.scenes import make_scene

SHOWN = np.diag([0.3, 0.3, 0.3, 1.0])
"""From the data set's frame to the NeRF's of the scene on show."""


class Blank(CondenseModel):
    """A model that is never rendered."""

    keypoints: Any
    text: Any

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.keypoints, self.text = object(), None


@pytest.fixture
def where_it_was_trained() -> None:
    """Nothing was."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def server() -> Iterator[viser.ViserServer]:
    made = viser.ViserServer("127.0.0.1", free_port(), verbose=False)
    yield made
    made.stop()


@pytest.fixture
def part(server: viser.ViserServer) -> Repository:
    """A panel for a scene with key points and no language."""
    pipeline: Any = SimpleNamespace(model=Blank(), datamanager=SimpleNamespace(world_to_nerf=lambda: SHOWN))
    made = Repository(Session(pipeline, lambda what, share: None))
    made.install(server)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    scenes = [make_scene(40, i, id=name) for i, name in enumerate(("cave", "garden"))]
    Store(tmp_path / "repo", create=True).add(scenes)
    return tmp_path / "repo"


@pytest.fixture
def opened(part: Repository, folder: Path) -> Repository:
    """The panel with the repository open."""
    part.path.value = str(folder)
    done(part, part.open)
    return part


def done(part: Repository, button: Any = None) -> None:
    """Presses a button and waits for what it does."""
    if button is not None:
        button.value = True
    time.sleep(0.1)  # viser runs callbacks in threads of its own
    assert part.session.work.wait(30.0)


def shown(part: Repository) -> list[str]:
    """The answers on show, without their pictures."""
    return [re.sub(r"!\[portrait\]\(\S+\)\s*", "", one.text.content) for one in part.slots if one.text.visible]


def hit(scene: str, *phrases: str) -> TextHit:
    """An answer by the first key points."""
    places = tuple(Place(phrase, 0.5, (0.0, 0.0, 0.0), number) for number, phrase in enumerate(phrases))
    return TextHit(scene, 0.5, places)


@pytest.fixture
def answered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked in words, and answered by both scenes."""
    asked: list[Any] = []

    class Questions:
        def __init__(self, store: Store, teacher: str | None) -> None:
            asked.append(teacher)

        def ask(self, phrases: tuple[str, ...], top: int) -> TextAnswer:
            asked.append(phrases)
            return TextAnswer("clip", "r2", (hit("garden", *phrases), hit("cave", *phrases)), ("*old*",))

    monkeypatch.setattr(text_query, "TextQuestions", Questions)
    return asked


def test_a_repository_is_opened_and_only_then_asked(part: Repository, folder: Path) -> None:
    assert not (part.phrases.visible or part.photograph.visible or part.alike.visible)
    for path, sentence in (("", "Type where"), (str(folder / "none"), "There is no repository")):
        part.path.value = path
        done(part, part.open)
        assert sentence in part.message.content.replace("\\", "") and not part.phrases.visible
    part.path.value = f" {folder} "
    done(part, part.open)
    assert part.message.content == "2 scenes." and part.phrases.visible and part.photograph.visible
    assert not (folder / "none").exists()


def test_phrases_are_answered_by_portraits(opened: Repository, answered: list[Any]) -> None:
    opened.phrases.value = "a cat, a dog"
    done(opened)
    assert answered == [None, ("a cat", "a dog")]  # None: there is but one language teacher
    first, second = shown(opened)
    assert first.startswith("**1**  garden: 0.50") and second.startswith("**2**  cave") and "a dog" in first
    assert r"\*old\*" in opened.message.content
    data = re.search(r"base64,([^)]+)\)", opened.slots[0].text.content)
    assert data is not None
    picture = Image.open(io.BytesIO(base64.b64decode(data[1])))
    assert picture.size == SIZE and (np.abs(np.asarray(picture).astype(int) - MARKS[0]).max(axis=2) < 60).any()
    opened.phrases.value = " "
    done(opened)
    assert not shown(opened) and len(answered) == 2


def test_what_fails_is_a_sentence_and_takes_old_answers_away(opened: Repository, answered: list[Any]) -> None:
    opened.phrases.value = "a cat"
    done(opened)
    opened.phrases.value = "x" * 10_000
    done(opened)
    assert "10000 characters" in opened.message.content and not shown(opened)


def test_a_photograph_is_uploaded(opened: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    found = PhotoHit("cave", 1.0, 3.0, 40, np.eye(4), 100.0, (0.0, 0.0, 0.0), 4)
    sizes = []

    class Questions:
        def __init__(self, store: Store) -> None: ...

        def ask(self, photograph: Any, top: int) -> PhotoAnswer:
            sizes.append(photograph.size)
            return PhotoAnswer((found,), ())

    monkeypatch.setattr(photo_query, "PhotoQuestions", Questions)
    content = io.BytesIO()
    Image.new("RGB", (30, 20)).save(content, "PNG")

    def upload(name: str, data: bytes) -> None:
        file: Any = SimpleNamespace(name=name, content=data)
        opened.photograph._impl.value = file
        opened._on_photograph(GuiEvent(client=None, client_id=None, target=opened.photograph))

    upload("a.png", content.getvalue())
    done(opened)
    assert sizes == [(30, 20)] and shown(opened) == ["**1**  cave: 1.00\n\n40 matches agree"]
    upload("<b>.png", b"no picture")
    done(opened)
    assert opened.message.content.replace("\\", "").startswith("<b>.png cannot be read as a photograph")
    assert "<" not in opened.message.content.replace("\\<", "")


def test_a_scene_is_opened_and_taken_away(opened: Repository, answered: list[Any], server: viser.ViserServer) -> None:
    opened.phrases.value = "a cat, a dog"
    done(opened)
    done(opened, opened.slots[1].button)
    assert opened.hide.visible
    names = {"points", "answer_0", "answer_0/ring", "answer_0/label", "answer_1"}
    assert {f"{NODE}/{name}" for name in names} <= set(server.scene._handle_from_node_name)
    done(opened, opened.hide)
    assert opened._opened._node is None and not opened.hide.visible


def test_the_same_place_is_laid_over_the_scene_on_show(
    opened: Repository, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = Store(folder).scene("cave")
    moved = replace(stored.points, positions=2.0 * stored.points.positions + np.array([5, 0, 0], dtype=np.float32))
    monkeypatch.setattr(module, "condensed", lambda session, count, progress: replace(stored, points=moved))
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        opened._opened,
        "show",
        lambda server, scene, placement, marks: seen.append(placed(placement, scene.points.positions)),
    )
    done(opened, opened.alike)
    assert shown(opened)[0].startswith("**1**  cave: 1.00")
    done(opened, opened.slots[0].button)
    np.testing.assert_allclose(seen[0], opened.session.to_viser(moved.positions), atol=1e-2)


def test_a_miniature_stands_upright_before_the_camera_and_faces_it() -> None:
    normals = np.tile(np.array([0.6, 0.8, 0.0], dtype=np.float32), (50, 1))
    scene = make_scene(50, normals=normals)
    eye = Eye(np.array([10.0, 4.0, 3.0]), np.array([1.0, 1.0, 1.0]))
    placement = miniature(scene, (3,), eye)
    up = placed(placement, np.array([[0.0, 0.0, 1.0]])) - placed(placement, np.zeros((1, 3)))
    np.testing.assert_allclose(up / np.linalg.norm(up), [[0.0, 0.0, 1.0]], atol=1e-6)
    positions = placed(placement, scene.points.positions)
    way = float(np.linalg.norm(eye.look_at - eye.position))
    assert np.linalg.norm(positions.mean(axis=0) - eye.before) < 0.1 * way
    assert np.linalg.norm(positions - eye.position, axis=1).max() < 0.8 * way
    normal = placement[:3, :3] @ normals[3]
    assert normal @ (eye.position - positions[3]) > 0.7 * np.linalg.norm(normal) * np.linalg.norm(
        eye.position - positions[3]
    )


def test_laying_over_undoes_the_transform() -> None:
    shown_to_scene = np.diag([2.0, 2.0, 2.0, 1.0])
    shown_to_scene[:3, 3] = (1.0, 2.0, 3.0)
    position = np.array([[0.5, -0.5, 0.25]])
    np.testing.assert_allclose(placed(over(SHOWN, shown_to_scene), placed(shown_to_scene, position)), 3.0 * position)
