"""Photographs and patterns."""

from __future__ import annotations

import socket

import numpy as np
import pytest
from PIL import Image

from condense_nerfstudio.demo.catalogue import FLOOR_TEXTURES, PHOTOGRAPHS, SOLID_TEXTURES, WALL_TEXTURES
from condense_nerfstudio.demo.mipmaps import TextureSet
from condense_nerfstudio.demo.room import ImageFile
from condense_nerfstudio.demo.textures import (
    PATTERNS,
    SIZE_MULTIPLE,
    TILE_SIZE,
    image_texture,
    linear_to_srgb,
    material_texture,
    photograph_aspect,
    photograph_texture,
    srgb_to_linear,
)
from condense_nerfstudio.errors import UserError

TONES = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
WHOLE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("photograph", PHOTOGRAPHS, ids=lambda photograph: photograph.name)
def test_every_photograph_loads_offline_in_its_proportions(photograph):
    texture = photograph_texture(photograph.name, WHOLE)
    height, width, _ = texture.shape
    assert width % SIZE_MULTIPLE == 0 and height % SIZE_MULTIPLE == 0
    assert width / height == pytest.approx(photograph_aspect(photograph.name, WHOLE), rel=0.06)
    assert texture.min() >= 0 and texture.max() <= 1 and texture.std() > 0.01


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_patterns_repeat_without_a_seam(pattern):
    tile = material_texture(pattern, TONES, seed=1)
    assert tile.shape == (TILE_SIZE, TILE_SIZE, 3) and tile.std() > 0.02
    for axis in (0, 1):
        steps = np.abs(np.diff(tile, axis=axis, append=np.take(tile, [0], axis=axis))).mean(axis=(1 - axis, 2))
        assert steps[-1] <= 1.2 * steps[:-1].max()


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_patterns_follow_their_seed_and_stay_between_their_tones(pattern):
    first, again, other = (material_texture(pattern, ((0.2, 0.2, 0.2), (0.8, 0.8, 0.8)), seed) for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    assert first.min() >= srgb_to_linear(0.2) - 1e-6 and first.max() <= srgb_to_linear(0.8) + 1e-6


def test_the_catalogue_names_only_patterns_that_exist():
    assert {*SOLID_TEXTURES, *FLOOR_TEXTURES, *WALL_TEXTURES} <= set(PATTERNS)


def test_srgb_round_trip():
    values = np.linspace(0, 1, 256)
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(values)), values, atol=1e-5)


def test_any_image_is_a_texture_cut_to_the_middle(tmp_path):
    stripes = np.zeros((64, 128, 3), dtype=np.uint8)
    stripes[:, 32:96] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    square = image_texture(tmp_path / "stripes.png", 1.0)
    assert square.shape == (TILE_SIZE, TILE_SIZE, 3) and square[:, 8:-8].min() > 0.99
    whole = image_texture(tmp_path / "stripes.png", 2.0)
    assert whole.shape == (TILE_SIZE // 2, TILE_SIZE, 3) and whole[:, :100].max() < 0.01
    # On a surface it is 0.5 m wide, once.
    painted = TextureSet([ImageFile(tmp_path / "stripes.png", (0.5, 0.25))])
    colours = painted.look_up(np.zeros(2, dtype=int), np.array([[0.1, 0.5], [0.5, 0.5]]), np.full(2, 1e-4))
    np.testing.assert_allclose(colours, [[0.0] * 3, [1.0] * 3], atol=0.01)
    with pytest.raises(UserError, match=r"gone\.png"):
        image_texture(tmp_path / "gone.png", 1.0)
