import pytest
import torch
from torch.nn import functional

from condense_nerfstudio.teachers.sampling import sample_bilinear


def test_cell_centres_return_the_cells():
    feature_map = torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    height, width = 100, 60
    centres = torch.tensor([[(j + 0.5) / 3 * width, (i + 0.5) / 2 * height] for i in range(2) for j in range(3)])
    torch.testing.assert_close(sample_bilinear(feature_map, centres, (height, width)), feature_map.view(6, 4))


def test_half_way_between_centres_is_the_mean():
    feature_map = torch.tensor([[[0.0], [4.0]], [[8.0], [20.0]]])
    middle = torch.tensor([[5.0, 5.0], [5.0, 2.5], [2.5, 5.0]])
    torch.testing.assert_close(sample_bilinear(feature_map, middle, (10, 10)), torch.tensor([[8.0], [2.0], [4.0]]))


def test_borders_are_clamped():
    feature_map = torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])
    corners = torch.tensor([[0.0, 0.0], [10.0, 0.0], [-3.0, 10.0], [10.0, 99.0]])
    expected = torch.tensor([[1.0], [2.0], [3.0], [4.0]])
    torch.testing.assert_close(sample_bilinear(feature_map, corners, (10, 10)), expected)


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 6, 2), (4, 1, 2), (1, 1, 2)])
def test_agrees_with_grid_sample_in_values_and_gradients(shape):
    generator = torch.Generator().manual_seed(0)
    feature_map = torch.randn(*shape, generator=generator, requires_grad=True)
    size = (48, 80)
    pixels = torch.rand(50, 2, generator=generator) * torch.tensor([100.0, 60.0]) - 10
    grid = pixels / torch.tensor([80.0, 48.0]) * 2 - 1
    reference = functional.grid_sample(
        feature_map.permute(2, 0, 1)[None], grid[None, None], padding_mode="border", align_corners=False
    )[0, :, 0].T
    ours = sample_bilinear(feature_map, pixels, size)
    torch.testing.assert_close(ours, reference)
    weights = torch.randn(ours.shape, generator=generator)
    (ours_grad,) = torch.autograd.grad((ours * weights).sum(), feature_map)
    (reference_grad,) = torch.autograd.grad((reference * weights).sum(), feature_map)
    torch.testing.assert_close(ours_grad, reference_grad)


def test_half_precision_maps_give_the_type_of_the_pixels():
    feature_map = torch.rand(3, 3, 2).half()
    sampled = sample_bilinear(feature_map, torch.rand(4, 2) * 9, (9, 9))
    assert sampled.dtype == torch.float32
    torch.testing.assert_close(
        sample_bilinear(feature_map, torch.tensor([[4.5, 4.5]]), (9, 9))[0], feature_map[1, 1].float()
    )
