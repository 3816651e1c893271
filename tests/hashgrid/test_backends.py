"""What every backend that runs on a CPU must compute, and that they agree."""

import math
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from condense_nerfstudio.hashgrid import HashGrid, available_backends

BACKENDS = [name for name in ("cpu", "torch") if name in available_backends()]
needs_numba = pytest.mark.skipif("cpu" not in BACKENDS, reason="numba is not installed")

CONFIGS: list[dict[str, Any]] = [
    dict(
        zip(
            ("num_levels", "features_per_level", "log2_hashmap_size", "base_resolution", "max_resolution"),
            sizes,
            strict=True,
        )
    )
    for sizes in (
        # levels that are dense, hashed or both
        (1, 1, 19, 16, 16),
        (1, 2, 4, 33, 33),
        (5, 1, 10, 3, 50),
        (5, 4, 12, 7, 501),
        (5, 8, 11, 5, 128),
        (16, 2, 14, 16, 2048),
    )
]


def make_grid(backend: Any, **config: Any) -> HashGrid:
    grid = HashGrid(backend=backend, **config)
    params = torch.rand(grid.params.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    grid.load_state_dict({"params": params})
    return grid


def random_points(*shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(*shape, 3, generator=torch.Generator().manual_seed(2)) * (high - low) + low


def rows_touched(grid: HashGrid, point: list[float]) -> dict[int, float]:
    """Weights by table row, read off the gradient of a one-feature grid."""
    grid(torch.tensor(point)).sum().backward()
    assert grid.params.grad is not None
    return {row: grid.params.grad[row].item() for row in grid.params.grad.nonzero().flatten().tolist()}


@pytest.mark.parametrize("backend", BACKENDS)
def test_dense_level_by_hand(backend):
    grid = make_grid(backend, num_levels=1, features_per_level=1, base_resolution=16, max_resolution=16)
    # 15 * 0.11 + 0.5 = 2.15, 15 * 0.52 + 0.5 = 8.3, 15 * 0.93 + 0.5 = 14.45
    expected = {}
    for x, weight_x in ((2, 0.85), (3, 0.15)):
        for y, weight_y in ((8, 0.7), (9, 0.3)):
            for z, weight_z in ((14, 0.55), (15, 0.45)):
                expected[x + 16 * y + 256 * z] = weight_x * weight_y * weight_z
    assert rows_touched(grid, [0.11, 0.52, 0.93]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dense_level_wraps_at_the_far_border(backend):
    grid = make_grid(backend, num_levels=1, features_per_level=1, base_resolution=16, max_resolution=16)
    # 15 * 1 + 0.5 = 15.5: the far vertices are number 16 of 16, the first of the next row, next slice or next table.
    expected = {(x + 16 * y + 256 * z) % 4096: 0.125 for x in (15, 16) for y in (15, 16) for z in (15, 16)}
    assert len(expected) == 8
    assert rows_touched(grid, [1.0, 1.0, 1.0]) == pytest.approx(expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("point", [[0.11, 0.52, 0.93], [-0.3, 0.52, -7.77]])
def test_hashed_level_by_hand(backend, point):
    grid = make_grid(
        backend, num_levels=1, features_per_level=1, log2_hashmap_size=10, base_resolution=64, max_resolution=64
    )
    expected: dict[int, float] = {}
    cells = [math.floor(63 * coordinate + 0.5) for coordinate in point]
    fractions = [63 * coordinate + 0.5 - cell for coordinate, cell in zip(point, cells, strict=True)]
    for corner in range(8):
        bits = [corner & 1, corner >> 1 & 1, corner >> 2 & 1]
        x, y, z = ((cell + bit) % 2**32 for cell, bit in zip(cells, bits, strict=True))
        row = ((x * 1) % 2**32 ^ (y * 2654435761) % 2**32 ^ (z * 805459861) % 2**32) % 1024
        weight = math.prod(part if bit else 1 - part for part, bit in zip(fractions, bits, strict=True))
        expected[row] = expected.get(row, 0.0) + weight
    assert rows_touched(grid, point) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_levels_follow_one_another_with_features_innermost(backend):
    grid = make_grid(backend, num_levels=2, features_per_level=2, base_resolution=4, max_resolution=8)
    assert grid.params.shape == ((4**3 + 8**3) * 2,)
    values = torch.cat([torch.tensor([1.0, 2.0]).repeat(4**3), torch.tensor([3.0, 4.0]).repeat(8**3)])
    grid.load_state_dict({"params": values})
    torch.testing.assert_close(grid(random_points(5)), torch.tensor([1.0, 2.0, 3.0, 4.0]).expand(5, 4))


@needs_numba
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("num_points", [1, 7, 700])
def test_cpu_agrees_with_torch(config, num_points):
    torch_grid, cpu_grid = make_grid("torch", **config), make_grid("cpu", **config)
    # Cells of the finest level change a float32 coordinate's last digits into a visible error.
    tolerance = {"rtol": 1e-4, "atol": 1e-6 * config["max_resolution"]}
    points, weights = random_points(num_points, low=-0.5, high=1.5), torch.randn(num_points, torch_grid.output_dim)
    results = []
    for grid in (cpu_grid, torch_grid):
        positions = points.clone().requires_grad_()
        encoded = grid(positions)
        (encoded * weights).sum().backward()
        results.append((encoded.detach(), grid.params.grad, positions.grad))
    for actual, expected in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, **tolerance)
    assert results[0][1].abs().sum() > 0
    assert results[0][2].abs().sum() > 0


@needs_numba
def test_backends_agree_at_the_border_and_far_outside():
    config = CONFIGS[-1]
    coordinates = torch.tensor([0.0, 1.0, 0.5, -1.0, -0.0, 1e-30, 17.3, -1e5, 3e7, -3e7])
    points = torch.cartesian_prod(coordinates, coordinates, coordinates)
    with torch.no_grad():
        torch.testing.assert_close(
            make_grid("cpu", **config)(points), make_grid("torch", **config)(points), atol=2e-3, rtol=1e-4
        )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("coordinate", [float("nan"), float("inf"), -float("inf")])
def test_a_coordinate_that_is_no_number_gives_nan_for_its_point_only(backend, coordinate):
    grid = make_grid(backend, **CONFIGS[-1])
    points = random_points(600)
    expected = grid(points).detach()
    points[300, 1] = coordinate
    encoded = grid(points.requires_grad_())
    assert encoded[300].isnan().all()
    others = torch.arange(600) != 300
    torch.testing.assert_close(encoded[others].detach(), expected[others])
    encoded[others].sum().backward()
    assert grid.params.grad is not None and grid.params.grad.shape == grid.params.shape


def test_reference_passes_gradcheck():
    grid = make_grid(
        "torch", num_levels=3, features_per_level=2, log2_hashmap_size=5, base_resolution=2, max_resolution=9
    ).double()
    points = random_points(4, low=0.05, high=1.3).double().requires_grad_()

    def encode(params: Tensor, positions: Tensor) -> Tensor:
        return torch.func.functional_call(grid, {"params": params}, (positions,))

    assert torch.autograd.gradcheck(encode, (grid.params, points))


@needs_numba
def test_double_precision_grids_fall_to_the_reference():
    points = random_points(9).double()
    cpu_grid, torch_grid = make_grid("cpu", **CONFIGS[2]).double(), make_grid("torch", **CONFIGS[2]).double()
    assert cpu_grid(points).dtype == torch.float64
    assert torch.equal(cpu_grid(points), torch_grid(points))


@needs_numba
def test_a_grid_on_another_device_falls_to_the_reference():
    grid = HashGrid(**CONFIGS[2], backend="cpu").to("meta")
    assert grid(torch.empty(9, 3, device="meta")).shape == (9, 5)


@needs_numba
def test_backward_has_the_same_bits_every_time():
    grid = make_grid("cpu", **CONFIGS[-1])
    points = random_points(5000)
    weights = torch.randn(5000, grid.output_dim)
    gradients = []
    for _ in range(4):
        grid.zero_grad()
        positions = points.clone().requires_grad_()
        (grid(positions) * weights).sum().backward()
        gradients.append((grid.params.grad, positions.grad))
    for table_gradient, position_gradient in gradients[1:]:
        assert torch.equal(table_gradient, gradients[0][0])
        assert torch.equal(position_gradient, gradients[0][1])


@needs_numba
def test_backward_does_not_depend_on_the_number_of_threads():
    import numba

    grid = make_grid("cpu", **CONFIGS[-1])
    points, threads = random_points(3000), numba.get_num_threads()
    gradients = []
    try:
        for count in (threads, 1):
            numba.set_num_threads(count)
            grid.zero_grad()
            grid(points).square().sum().backward()
            gradients.append(grid.params.grad)
    finally:
        numba.set_num_threads(threads)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradients_are_computed_only_where_asked(backend):
    grid = make_grid(backend, **CONFIGS[2]).requires_grad_(False)
    positions = random_points(8).requires_grad_()
    grid(positions).sum().backward()
    assert grid.params.grad is None
    assert positions.grad is not None


@needs_numba
def test_second_derivatives_are_refused_on_cpu():
    grid = make_grid("cpu", **CONFIGS[2])
    positions = random_points(8).requires_grad_()
    (gradient,) = torch.autograd.grad(grid(positions).square().sum(), positions, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (2, 3), (2, 3, 4)])
def test_batch_shapes(backend, shape):
    grid = make_grid(backend, **CONFIGS[3])
    points = random_points(*shape)
    encoded = grid(points)
    assert encoded.shape == (*shape, 20)
    torch.testing.assert_close(encoded.reshape(-1, 20), grid(points.reshape(-1, 3)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_empty_input_has_a_zero_gradient(backend):
    grid = make_grid(backend, **CONFIGS[3])
    grid(torch.empty(0, 3)).sum().backward()
    assert grid.params.grad is not None
    assert torch.equal(grid.params.grad, torch.zeros_like(grid.params))


@pytest.mark.parametrize("backend", BACKENDS)
def test_non_contiguous_input(backend):
    grid = make_grid(backend, **CONFIGS[3])
    base = random_points(3, 50).movedim(-1, 0)[:, :, ::2]  # [3, 3, 25]
    points = base.movedim(0, -1)
    assert not points.is_contiguous()
    torch.testing.assert_close(grid(points), grid(points.contiguous()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_non_contiguous_gradient(backend):
    grid = make_grid(backend, **CONFIGS[3])
    points = random_points(300)
    grid(points).sum().backward()  # an expanded gradient
    expected, grid.params.grad = grid.params.grad, None
    grid(points).backward(torch.ones(300, 20))
    torch.testing.assert_close(grid.params.grad, expected)


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_grad_mode(backend):
    grid = make_grid(backend, **CONFIGS[3])
    points = random_points(10)
    with torch.no_grad():
        encoded = grid(points)
    assert not encoded.requires_grad
    assert torch.equal(encoded, grid(points))


@pytest.mark.parametrize("backend", BACKENDS)
def test_half_precision_positions(backend):
    grid = make_grid(backend, **CONFIGS[3])
    points = random_points(10).half()
    encoded = grid(points)
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded, grid(points.float()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_optimizer_can_fit_it(backend):
    grid = make_grid(
        backend, num_levels=4, features_per_level=1, log2_hashmap_size=12, base_resolution=4, max_resolution=32
    )
    points = random_points(500)
    target = torch.sin(points @ torch.tensor([7.0, 5.0, 3.0]))
    optimizer = torch.optim.Adam(grid.parameters(), lr=0.02)
    for _ in range(60):
        loss = (grid(points).sum(-1) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01 * target.square().mean().item()


@needs_numba
def test_two_threads_at_once_get_right_answers():
    grids = [make_grid("cpu", **CONFIGS[3]), make_grid("cpu", **CONFIGS[-1])]
    points = random_points(3000)

    def gradient_and_value(grid: HashGrid) -> tuple[Tensor, Tensor]:
        encoded = grid(points)
        (gradient,) = torch.autograd.grad(encoded.square().sum(), grid.params)
        return gradient, encoded.detach()

    expected = [gradient_and_value(grid) for grid in grids]
    results: list[list[tuple[Tensor, Tensor]]] = [[], []]

    def work(index: int) -> None:
        results[index].extend(gradient_and_value(grids[index]) for _ in range(10))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for index in range(2):
        assert len(results[index]) == 10
        for gradient, encoded in results[index]:
            assert torch.equal(gradient, expected[index][0])
            assert torch.equal(encoded, expected[index][1])
