"""The contraction of all of space into the unit cube."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from condense_nerfstudio.backends import runs_compiled


def contract(positions: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 3"]:
    """Maps all of space into the unit cube: [-1, 1]^3 onto its inner half, the rest onto the shell around it.

    mip-NeRF 360 (Barron et al., CVPR 2022), equation 10, with the maximum norm as in nerfacto.
    """
    if runs_compiled(positions):
        from condense_nerfstudio.scene.contraction_compiled import contract_compiled

        return contract_compiled(positions)
    return contract_reference(positions)


def contract_reference(positions: Float[Tensor, "*bs 3"]) -> Float[Tensor, "*bs 3"]:
    """The same in plain PyTorch: for other devices and types, and what the kernel is tested against."""
    size = positions.abs().amax(dim=-1, keepdim=True)
    outside = size.clamp(min=1.0)
    return (positions * (2.0 - 1.0 / outside) / outside + 2.0) / 4.0
