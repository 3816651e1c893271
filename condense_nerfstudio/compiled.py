"""How the kernels for the CPU are compiled and run. Importing this module imports numba."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from torch import Tensor

CHUNK = 256
"""Points that a kernel handles at a time, so that what it keeps of them stays in the first-level cache."""

FAST_MATH = {"contract", "reassoc", "nsz", "arcp"}
"""All of fast math but the promise that no NaN or infinity occurs, under which a NaN position could read anywhere."""

KERNEL_LOCK = threading.Lock()
"""Held while a kernel runs: numba's fallback threading layer aborts the process when two threads enter it at once, and
one call keeps all cores busy anyway."""


def jit(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Makes a function a kernel.

    It is compiled at its first call (a second or two) and cached on disk: beside its file, else (read-only
    installation) in the user's cache folder, else not at all. The cache looks at the kernel's own file only: kernels
    call none of another file, or would be used in an old version after that one has changed. Division by zero gives
    infinity, as in numpy: a loop that might raise cannot be turned into vector instructions.

    Args:
        options: of numba.njit, such as parallel=True.
    """
    options |= {"fastmath": FAST_MATH, "nogil": True, "error_model": "numpy"}

    def compile_lazily(function: Callable[..., Any]) -> Any:
        """The kernel."""
        function = inspect.unwrap(function)  # jaxtyping's import hook wraps every function where it is on
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # numba found no folder that it may write its cache to
            return numba.njit(**options)(function)

    return compile_lazily


def run(kernel: Callable[..., None], *arguments: Any) -> None:
    """Runs a kernel on as many threads as numba may use.

    Args:
        kernel: made with jit(parallel=True).
        arguments: what it takes; the number of threads follows as its last argument.
    """
    # nerfstudio's viewer interrupts a view by a trace function that raises between two lines, which might be the end of
    # the block and the release of the lock: nobody could run a kernel any more.
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        with KERNEL_LOCK:
            kernel(*arguments, numba.get_num_threads())
    finally:
        sys.settrace(trace)


def as_array(tensor: Tensor) -> np.ndarray:
    """A tensor's numbers as kernels take them: without gradient, one row after another in memory."""
    return tensor.detach().contiguous().numpy()


def thread_count() -> int:
    """The number of threads on which :func:`run` runs a kernel called from here."""
    return numba.get_num_threads()
