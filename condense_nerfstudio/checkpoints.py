"""Lets torch.load read nerfstudio's own checkpoints in its safe mode (`weights_only=True`, the default since 2.6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch


def allow_numpy_scalars() -> None:
    """Tells torch that numpy's numbers are safe to load.

    nerfstudio's schedulers leave numpy scalars in the optimizer state, which torch refuses ("Unsupported global:
    numpy.core.multiarray.scalar"), so that nerfstudio 1.1.5 cannot resume or evaluate what it has written itself. The
    mending holds for every method and allows numbers only: no class or function that a file could misuse. torch
    before 2.4 keeps no list of safe globals and needs none. Calling it again changes nothing.
    """
    add_safe_globals = getattr(torch.serialization, "add_safe_globals", None)
    if add_safe_globals is None:
        return
    # What pickle itself calls to rebuild a scalar: numpy 1 and 2 keep it in different places.
    scalar = np.float64(0).__reduce__()[0]
    type_codes = "?" + np.typecodes["AllInteger"] + np.typecodes["Float"]
    allowed: list[Any] = [scalar, np.dtype, *{type(np.dtype(code)) for code in type_codes}]
    if torch.__version__ >= "2.7":  # compares versions, not strings; an entry may be (object, its name in the file)
        allowed += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    add_safe_globals(allowed)
