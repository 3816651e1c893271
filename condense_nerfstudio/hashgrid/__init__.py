"""Multiresolution hash grid (Müller et al., Instant Neural Graphics Primitives, SIGGRAPH 2022).

One module with three backends that all follow tiny-cuda-nn's rules, so that a checkpoint moves between them freely.
"""

from condense_nerfstudio.hashgrid.module import Backend, HashGrid, available_backends

__all__ = ["Backend", "HashGrid", "available_backends"]
