"""Choice of backend, state dict, errors, imports."""

import copy
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.hashgrid import HashGrid, available_backends, module

SMALL: dict[str, Any] = {
    "num_levels": 3,
    "features_per_level": 2,
    "log2_hashmap_size": 8,
    "base_resolution": 4,
    "max_resolution": 16,
}


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def test_importing_the_package_does_not_import_numba():
    result = run_python("import sys, condense_nerfstudio.hashgrid; sys.exit('numba' in sys.modules)")
    assert result.returncode == 0, result.stderr


def test_works_where_numba_may_write_its_cache_nowhere():
    pytest.importorskip("numba")
    code = """
import torch
from condense_nerfstudio.hashgrid import HashGrid, numba_kernels
grid = HashGrid(1, 1, 4, 4, 4, backend="cpu")
assert torch.isfinite(grid(torch.rand(3, 3))).all()
"""
    # numba then has no place for its cache: it accepts a folder named by the user only, and none is named.
    result = run_python(code, NUMBA_CACHE_LOCATOR_CLASSES="UserProvidedCacheLocator", NUMBA_CACHE_DIR="")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("backend", ["auto", *available_backends()])
def test_the_state_dict_has_one_entry(backend):
    grid = HashGrid(**SMALL, backend=backend)
    assert list(grid.state_dict()) == ["params"]
    assert grid.params.dtype == torch.float32
    assert grid.params.ndim == 1


def test_parameters_start_small_and_uniform():
    params = HashGrid(16, 2, 14).params
    assert params.abs().max() <= 1e-4
    assert params.std().item() == pytest.approx(1e-4 / 3**0.5, rel=0.02)


def test_a_checkpoint_opens_with_another_backend():
    source, target = HashGrid(**SMALL, backend="auto"), HashGrid(**SMALL, backend="torch")
    target.load_state_dict(source.state_dict())
    points = torch.rand(20, 3)
    torch.testing.assert_close(source(points), target(points))


def test_a_grid_can_be_copied():
    grid = HashGrid(**SMALL)
    points = torch.rand(20, 3)
    assert torch.equal(copy.deepcopy(grid)(points), grid(points))


def test_auto_takes_the_fastest_that_works(monkeypatch):
    assert HashGrid(**SMALL).backend == available_backends()[0]
    monkeypatch.setattr(module, "_tcnn_works", lambda: False)
    monkeypatch.setitem(sys.modules, "numba", None)
    assert available_backends() == ("torch",)
    assert HashGrid(**SMALL).backend == "torch"


def test_a_missing_backend_says_what_to_install(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(UserError, match=r'"tcnn" needs a CUDA device and tiny-cuda-nn: install .*pip install'):
        HashGrid(**SMALL, backend="tcnn")
    with pytest.raises(UserError, match=r'"cpu" needs numba: install it with `pip install numba`'):
        HashGrid(**SMALL, backend="cpu")


def test_an_unknown_backend_lists_the_known_ones():
    # Not through HashGrid, whose annotation the tests' type checker enforces first.
    with pytest.raises(UserError, match='"gpu": choose one of auto, tcnn, cpu, torch'):
        module._choose_backend("gpu")


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_levels": 0},
        {"features_per_level": 3},
        {"log2_hashmap_size": 31},
        {"base_resolution": 0},
        {"base_resolution": 32},
    ],
)
def test_sizes_that_make_no_grid_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        HashGrid(**{**SMALL, **wrong})


class FakeEncoding(nn.Module):
    """Stands in for tinycudann.Encoding, which needs a GPU to be built."""

    def __init__(self, n_input_dims: int, encoding_config: dict) -> None:
        super().__init__()
        self.n_input_dims, self.encoding_config = n_input_dims, encoding_config
        self.params = nn.Parameter(torch.zeros(3 * 256 * 2))


def test_tcnn_shares_its_parameters_under_the_common_name(monkeypatch):
    monkeypatch.setattr(module, "_tcnn_works", lambda: True)
    monkeypatch.setattr("nerfstudio.utils.external.tcnn", SimpleNamespace(Encoding=FakeEncoding))
    grid = HashGrid(3, 2, log2_hashmap_size=8, base_resolution=16, max_resolution=64)
    assert grid.backend == "tcnn"
    assert list(grid.state_dict()) == ["params"]
    assert [name for name, _ in grid.named_parameters()] == ["params"]
    assert grid.params is grid._encoding.params
    assert grid._encoding.n_input_dims == 3
    assert grid._encoding.encoding_config == {
        "otype": "HashGrid",
        "n_levels": 3,
        "n_features_per_level": 2,
        "log2_hashmap_size": 8,
        "base_resolution": 16,
        "per_level_scale": pytest.approx(2.0),
    }


def test_a_tcnn_grid_moved_to_the_cpu_falls_to_the_reference(monkeypatch):
    monkeypatch.setattr(module, "_tcnn_works", lambda: True)
    monkeypatch.setattr("nerfstudio.utils.external.tcnn", SimpleNamespace(Encoding=FakeEncoding))
    grid = HashGrid(3, 2, log2_hashmap_size=8, base_resolution=16, max_resolution=64, backend="tcnn")
    twin = HashGrid(3, 2, log2_hashmap_size=8, base_resolution=16, max_resolution=64, backend="torch")
    grid.load_state_dict(twin.state_dict())
    points = torch.rand(20, 3)
    assert torch.equal(grid(points), twin(points))
