"""`condense query ... --picture`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from condense_nerfstudio.cli.main import main
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.storage import write_condensed_scene
from condense_nerfstudio.repository import ranking_picture as module
from condense_nerfstudio.repository.photo_query import PhotoHit
from condense_nerfstudio.repository.photograph import Photograph
from condense_nerfstudio.repository.portrait import MARKS
from condense_nerfstudio.repository.ranking_picture import Ranked, ranking_picture
from condense_nerfstudio.repository.store import Store
from condense_nerfstudio.repository.text_query import Place, TextHit

from ..keypoints.scenes import make_scene


@pytest.fixture
def repository(tmp_path: Path) -> Store:
    made = Store(tmp_path / "repo", create=True)
    made.add([make_scene(20, i, id=name) for i, name in enumerate(("cave", "garden"))])
    return made


def test_scenes_like_another_are_drawn_and_nothing_else_is_left_behind(
    repository: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_condensed_scene(make_scene(20, 0, id="cave"), tmp_path / "asked")
    (tmp_path / "out").mkdir()
    command = ["query", repository.uri, "--scene", str(tmp_path / "asked")]
    assert main(command) == 0
    plain = capsys.readouterr().out
    assert main([*command, "--picture", str(tmp_path / "out/ranking.PNG")]) == 0
    assert capsys.readouterr().out == plain
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["ranking.PNG"]
    picture = np.asarray(Image.open(tmp_path / "out/ranking.PNG"))
    assert picture.shape[1] > 3 * 320  # the scene that was asked about, and two answers
    assert (picture == MARKS[0]).all(axis=2).sum() > 100


@pytest.mark.parametrize(
    ("name", "sentence"), [("ranking.jpg", "ends in .png"), ("none/a.png", "there is no folder"), ("d.png", "a folder")]
)
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_asked(
    name: str, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "d.png").mkdir()
    assert main(["query", "no/repository", "--text", "a cat", "--picture", str(tmp_path / name)]) == 1
    assert sentence in capsys.readouterr().err


def test_what_cannot_be_written_after_all_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        module.write_picture(tmp_path / "gone" / "a.png", Image.new("RGB", (2, 2)))


def test_every_kind_of_answer_has_its_lines() -> None:
    places = [Place("a cat", 0.7, (0.0, 0.0, 0.0), 3), Place("a dog", 0.4, (0.0, 0.0, 0.0), 8)]
    assert Ranked.of(TextHit("cave", 0.7, (places[0],))) == Ranked("cave", 0.7, (3,), ())
    assert Ranked.of(TextHit("cave", 0.4, tuple(places))).told == ("a cat: 0.70", "a dog: 0.40")
    lost = PhotoHit("cave", 0.0, 1.0, 0, None, None, (0.0, 0.0, 0.0), 5)
    assert Ranked.of(lost) == Ranked("cave", 0.0, (5,), ("nothing agrees",))


def test_a_photograph_is_shown_and_very_many_answers_are_not(
    repository: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    ranking = [Ranked("cave", 0.5, (0,), ("x" * 400,))] * 5
    purple = torch.tensor([0.5, 0.0, 0.5]).expand(50, 200, 3)
    picture = ranking_picture(repository, "y" * 400, ranking, Photograph(purple, (200, 50), None))
    assert picture.width == 3 * (320 + 24) + 24 and picture.height < 500
    assert picture.getpixel((24 + 160, 74 + 120)) == (128, 0, 128)
    none = ranking_picture(repository, "a boat", [])
    assert none.width > 300


@pytest.mark.parametrize(("tiles", "columns"), [(0, 1), (1, 1), (3, 3), (4, 4), (5, 3), (6, 3), (8, 4), (60, 9)])
def test_tiles_leave_few_gaps(tiles: int, columns: int) -> None:
    assert module._columns(tiles) == columns
