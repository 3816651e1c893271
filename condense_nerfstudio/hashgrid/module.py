"""The hash grid as a module: choice of backend, parameters, input and output shapes."""

from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from condense_nerfstudio.backends import numba_works
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.hashgrid import reference
from condense_nerfstudio.hashgrid.geometry import grid_levels, per_level_scale

Backend = Literal["auto", "tcnn", "cpu", "torch"]

_INSTALL_HINTS = {
    "tcnn": "needs a CUDA device and tiny-cuda-nn: install the latter with `pip install "
    "git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch`",
    "cpu": "needs numba: install it with `pip install numba`",
}


def available_backends() -> tuple[str, ...]:
    """The backends that work on this machine, fastest first. "torch" is always among them."""
    candidates = {"tcnn": _tcnn_works(), "cpu": numba_works(), "torch": True}
    return tuple(name for name, works in candidates.items() if works)


class HashGrid(nn.Module):
    """Multiresolution hash encoding of positions, with the index rules of tiny-cuda-nn on every backend.

    The backends are "tcnn" (tiny-cuda-nn, on CUDA), "cpu" (numba) and "torch" (plain PyTorch, any device, slow).
    "auto" takes the first of them that works here. All keep one flat vector under the state dict key "params", so a
    checkpoint written with one opens with another. A "tcnn" or "cpu" grid whose parameters are moved to a device (or
    converted to a type) that the backend does not handle computes with "torch".

    Args:
        num_levels: Number of resolutions.
        features_per_level: Features stored at each grid vertex: 1, 2, 4 or 8.
        log2_hashmap_size: Base-2 logarithm of the largest number of table rows a level.
        base_resolution: Resolution of the coarsest level, in vertices along an axis.
        max_resolution: Resolution of the finest level.
        backend: "auto", "tcnn", "cpu" or "torch".

    Raises:
        UserError: The backend does not work on this machine, or the sizes make no grid.
    """

    params: nn.Parameter
    """[num_params], float32: the tables of all levels, coarsest first, features innermost."""
    _encoding: Any
    """The tinycudann.Encoding, with the "tcnn" backend only."""

    def __init__(
        self,
        num_levels: int = 16,
        features_per_level: int = 2,
        log2_hashmap_size: int = 19,
        base_resolution: int = 16,
        max_resolution: int = 2048,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        _check_sizes(num_levels, features_per_level, log2_hashmap_size, base_resolution, max_resolution)
        self.levels = grid_levels(num_levels, log2_hashmap_size, base_resolution, max_resolution)
        self.features_per_level = features_per_level
        self.output_dim = num_levels * features_per_level
        self.backend = _choose_backend(backend)

        if self.backend == "tcnn":
            encoding = _tcnn_encoding(
                n_levels=num_levels,
                n_features_per_level=features_per_level,
                log2_hashmap_size=log2_hashmap_size,
                base_resolution=base_resolution,
                per_level_scale=per_level_scale(num_levels, base_resolution, max_resolution),
            )
            # Not as a submodule: that would list the parameters twice, once under a name that other backends lack.
            object.__setattr__(self, "_encoding", encoding)
            self.params = encoding.params
        else:
            num_params = sum(level.entries for level in self.levels) * features_per_level
            self.params = nn.Parameter(torch.empty(num_params).uniform_(-1e-4, 1e-4))
        if self.backend == "cpu":
            from condense_nerfstudio.compiled import thread_count
            from condense_nerfstudio.hashgrid.numba_kernels import LevelArrays

            self._level_arrays = LevelArrays.from_levels(self.levels, thread_count())

    def forward(self, positions: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs output_dim"]:
        """Features of the positions, level after level, in the type of `params`.

        Args:
            positions: Points in the unit cube. Points outside wrap around into other cells; a NaN coordinate gives NaN.
        """
        if self.backend == "tcnn" and self.params.is_cuda:
            encoded = self._encoding(positions.reshape(-1, 3))
            return encoded.to(self.params.dtype).view(*positions.shape[:-1], self.output_dim)
        if self.backend == "cpu" and self.params.device.type == "cpu" and self.params.dtype == torch.float32:
            from condense_nerfstudio.hashgrid import numba_encoding

            return numba_encoding.encode(self.params, positions, self._level_arrays, self.features_per_level)
        return reference.encode(self.params, positions.to(self.params), self.levels, self.features_per_level)

    def extra_repr(self) -> str:
        resolutions = f"{self.levels[0].resolution}..{self.levels[-1].resolution}"
        return f"levels={len(self.levels)}, features={self.features_per_level}, {resolutions}, backend={self.backend}"


def _choose_backend(requested: str) -> str:
    if requested not in get_args(Backend):
        raise UserError(f'Unknown hash grid backend "{requested}": choose one of {", ".join(get_args(Backend))}.')
    if requested == "torch":
        return requested
    available = available_backends()
    if requested == "auto":
        return available[0]
    if requested not in available:
        raise UserError(f'The hash grid backend "{requested}" {_INSTALL_HINTS[requested]}, or choose "auto".')
    return requested


def _check_sizes(num_levels: int, features: int, log2_hashmap_size: int, base: int, finest: int) -> None:
    if num_levels < 1:
        raise UserError(f"A hash grid needs at least one level, not {num_levels}: set num_levels to 1 or more.")
    if features not in (1, 2, 4, 8):
        raise UserError(f"A hash grid cannot have {features} features a level: set features_per_level to 1, 2, 4 or 8.")
    if not 1 <= log2_hashmap_size <= 30:
        raise UserError(f"log2_hashmap_size is {log2_hashmap_size}: set it to a number from 1 to 30, such as 19.")
    if not 1 <= base <= finest:
        raise UserError(
            f"The hash grid's resolutions run from {base} to {finest}: set base_resolution to 1 or more and "
            "max_resolution to no less than that."
        )


def _tcnn_works() -> bool:
    if not torch.cuda.is_available():  # without a device the import itself fails, with an OSError
        return False
    from nerfstudio.utils.external import TCNN_EXISTS

    return TCNN_EXISTS


def _tcnn_encoding(**grid: int | float) -> Any:
    from nerfstudio.utils.external import tcnn

    return tcnn.Encoding(n_input_dims=3, encoding_config={"otype": "HashGrid", **grid})
