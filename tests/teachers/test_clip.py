from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.preprocessing import CLIP_MEAN, CLIP_STD, network_input
from condense_nerfstudio.teachers.protocol import LanguageTeacher
from condense_nerfstudio.teachers.registry import load_language_teacher

from .tiny_models import save_tiny_clip, save_tiny_dinov2


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def teacher(folder) -> LanguageTeacher:
    return load_language_teacher(TeacherConfig("clip", model=str(folder), resolution=96))


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(60, 100, 3, generator=torch.Generator().manual_seed(0))


def test_image_features_are_a_grid_of_unit_vectors(teacher, image):
    features = teacher.encode_image(image)
    assert features.shape == (4, 6, 24) == (4, 6, teacher.dim)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(4, 6))


def test_image_features_follow_the_value_path_of_the_last_block(teacher, folder, image):
    from transformers import CLIPModel

    network = CLIPModel.from_pretrained(folder).eval()
    vision = network.vision_model
    seen = {}
    attention: Any = vision.encoder.layers[-1].self_attn
    attention.v_proj.register_forward_hook(lambda _m, _i, output: seen.update(v=output))
    with torch.no_grad():
        vision(network_input(image, 96, 16, CLIP_MEAN, CLIP_STD), interpolate_pos_encoding=True)
        values = attention.out_proj(seen["v"][0, 1:])
        expected = network.visual_projection(vision.post_layernorm(values))
    torch.testing.assert_close(teacher.encode_image(image).flatten(0, 1), functional.normalize(expected, dim=-1))


def test_text_features_are_those_of_the_whole_model(teacher, folder):
    from transformers import AutoTokenizer, CLIPModel

    phrases = ["a cat", "two cups of coffee"]
    network, tokenizer = CLIPModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    tokens = tokenizer(phrases, padding=True, return_tensors="pt")
    pixels = torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(pixel_values=pixels, **tokens).text_embeds
    torch.testing.assert_close(teacher.encode_text(phrases), expected)


def test_text_does_not_depend_on_its_neighbours_in_the_batch(teacher):
    together = teacher.encode_text(["a cat", "a much longer phrase", "ünïcode 猫"])
    alone = torch.cat([teacher.encode_text([p]) for p in ("a cat", "a much longer phrase", "ünïcode 猫")])
    torch.testing.assert_close(together, alone)
    assert (together @ together.T - torch.eye(3)).abs().max() < 0.999


def test_overlong_text_is_cut(teacher):
    assert teacher.encode_text(["x " * 500]).isfinite().all()


def test_revision_ignores_the_text_tower_but_not_the_image_tower(folder, tmp_path):
    from transformers import CLIPModel

    def revision_with(change) -> str:
        network = CLIPModel.from_pretrained(folder)
        with torch.no_grad():
            change(network)
        for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
            (tmp_path / name).write_bytes((folder / name).read_bytes())
        network.save_pretrained(tmp_path)
        return load_language_teacher(TeacherConfig("clip", model=str(tmp_path))).revision

    original = load_language_teacher(TeacherConfig("clip", model=str(folder))).revision
    assert revision_with(lambda network: network.text_projection.weight.zero_()) == original
    assert revision_with(lambda network: network.visual_projection.weight.zero_()) != original
    assert (
        revision_with(lambda network: network.vision_model.encoder.layers[-1].self_attn.v_proj.bias.zero_()) != original
    )


def test_a_model_of_another_kind_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"Teacher clip.*language\.model"):
        load_language_teacher(TeacherConfig("clip", model=str(save_tiny_dinov2(tmp_path))))
