from pathlib import Path

import pytest
import torch
from torch.nn import functional

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.teachers.config import TeacherConfig
from condense_nerfstudio.teachers.preprocessing import IMAGENET_MEAN, IMAGENET_STD, network_input
from condense_nerfstudio.teachers.registry import load_teacher
from condense_nerfstudio.teachers.sampling import sample_bilinear

from .tiny_models import save_tiny_clip, save_tiny_dinov2

REAL_WEIGHTS = Path(__file__).parents[3] / "shared" / "weights" / "dinov2-vits14"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny_dinov2(tmp_path_factory.mktemp("dinov2"))


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(60, 100, 3, generator=torch.Generator().manual_seed(0))


def test_grid_covers_a_non_square_image_in_whole_patches(folder, image):
    teacher = load_teacher(TeacherConfig("dinov2", model=str(folder), resolution=84))
    features = teacher.encode_image(image)
    assert features.shape == (4, 6, teacher.dim) and teacher.dim == 128 and teacher.patch_size == 14
    assert not features.requires_grad and features.isfinite().all()


@pytest.mark.parametrize("layer", [1, 2, 3, None])
@pytest.mark.parametrize("registers", [0, 2])
def test_features_are_the_patch_tokens_of_the_layer(tmp_path, image, layer, registers):
    from transformers import AutoModel

    folder = save_tiny_dinov2(tmp_path, registers=registers)
    network = AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        outputs = network(network_input(image, 84, 14, IMAGENET_MEAN, IMAGENET_STD), output_hidden_states=True)
    tokens = outputs.last_hidden_state if layer is None else outputs.hidden_states[layer]
    features = load_teacher(TeacherConfig("dinov2", model=str(folder), layer=layer, resolution=84)).encode_image(image)
    torch.testing.assert_close(features.flatten(0, 1), tokens[0, 1 + registers :])


@pytest.mark.parametrize("layer", [0, 4, -1])
def test_layer_out_of_range_names_the_flag(folder, layer):
    with pytest.raises(UserError, match=r"visual\.layer a number from 1 to 3"):
        load_teacher(TeacherConfig("dinov2", model=str(folder), layer=layer))


def test_revision_depends_on_layer_resolution_and_weights(folder, tmp_path):
    configs = [
        TeacherConfig("dinov2", model=str(folder)),
        TeacherConfig("dinov2", model=str(folder), layer=3),
        TeacherConfig("dinov2", model=str(folder), resolution=84),
        TeacherConfig("dinov2", model=str(save_tiny_dinov2(tmp_path, swiglu=True))),
    ]
    revisions = [load_teacher(config).revision for config in configs]
    assert len(set(revisions)) == 4
    assert revisions[0] == load_teacher(configs[0]).revision


def test_another_kind_of_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is a clip model.*visual\.model"):
        load_teacher(TeacherConfig("dinov2", model=str(save_tiny_clip(tmp_path))))


@pytest.mark.skipif(not REAL_WEIGHTS.is_dir(), reason="no shared/weights/dinov2-vits14 beside the repository")
def test_real_weights_find_shifted_patches_again():
    data = pytest.importorskip("skimage.data")
    teacher = load_teacher(TeacherConfig("dinov2", model=str(REAL_WEIGHTS), layer=9, resolution=280))
    photo = torch.from_numpy(data.coffee()).float() / 255
    shift = 35
    left, right = teacher.encode_image(photo[:, :-shift]), teacher.encode_image(photo[:, shift:])
    assert left.isfinite().all()
    mean = left.mean((0, 1))
    size = (photo.shape[0], photo.shape[1] - shift)
    x, y = torch.meshgrid(torch.arange(60.0, size[1] - 60, 25), torch.arange(30.0, size[0] - 30, 25), indexing="xy")
    pixels = torch.stack([x.flatten(), y.flatten()], -1)
    queries = functional.normalize(sample_bilinear(left, pixels, size) - mean, dim=-1)
    rows, columns = right.shape[:2]
    best = (queries @ functional.normalize(right.flatten(0, 1) - mean, dim=-1).T).argmax(-1)
    found = torch.stack([(best % columns + 0.5) / columns * size[1], (best // columns + 0.5) / rows * size[0]], -1)
    error = (found + torch.tensor([shift, 0.0]) - pixels).norm(dim=-1)
    cell = size[1] / columns
    assert (error < 1.5 * cell).float().mean() > 0.8
