import pytest
import torch

from condense_nerfstudio.teachers.preprocessing import network_input, network_size


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(480, 640, (392, 518)), (640, 480, (518, 392)), (100, 100, (518, 518)), (3, 4000, (14, 518)), (518, 7, (518, 14))],
)
def test_network_size_is_whole_patches_with_the_longer_side_at_the_resolution(height, width, expected):
    assert network_size(height, width, 518, 14) == expected


def test_longer_side_is_rounded_to_whole_patches():
    assert network_size(100, 200, 500, 16) == (256, 496)


def test_colours_are_normalised():
    pixels = network_input(torch.full((10, 20, 3), 0.75), 32, 16, (0.25, 0.5, 0.75), (0.5, 0.25, 1.0))
    assert pixels.shape == (1, 3, 16, 32)
    torch.testing.assert_close(pixels[0, :, 3, 3], torch.tensor([1.0, 1.0, 0.0]))


def test_shrinking_averages_fine_stripes():
    stripes = torch.zeros(256, 256, 3)
    stripes[:, ::2] = 1
    pixels = network_input(stripes, 32, 16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    torch.testing.assert_close(pixels[..., 2:-2, 2:-2], torch.full((1, 3, 28, 28), 0.5), atol=0.02, rtol=0)


def test_positions_are_kept():
    image = torch.linspace(0, 1, 640)[None, :, None].expand(480, 640, 3)
    pixels = network_input(image, 64, 16, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    centres = (torch.arange(64) + 0.5) / 64
    torch.testing.assert_close(pixels[0, 0, 24, 2:-2], centres[2:-2], atol=1e-3, rtol=0)
