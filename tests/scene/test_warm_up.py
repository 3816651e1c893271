"""Compiling kernels in the background: all of them, and without touching the random numbers of the training."""

from __future__ import annotations

import subprocess
import sys
import threading

import torch

from condense_nerfstudio.hashgrid import numba_kernels
from condense_nerfstudio.scene import (
    contraction_compiled,
    distance_kernels,
    perceptron_kernels,
    ray_kernels,
)
from condense_nerfstudio.scene.warm_up import compile_in_background


def test_every_kernel_is_compiled_and_no_random_number_drawn() -> None:
    before = torch.get_rng_state()
    compile_in_background()
    for thread in threading.enumerate():
        if thread.name == "condense-kernels":
            thread.join()
    assert torch.equal(torch.get_rng_state(), before)
    for module in (numba_kernels, contraction_compiled, distance_kernels, perceptron_kernels, ray_kernels):
        functions = [value for value in vars(module).values() if hasattr(value, "signatures")]
        kernels = [function for function in functions if function.targetoptions.get("parallel")]
        uncompiled = [kernel.__name__ for kernel in kernels if not kernel.signatures]
        assert kernels and uncompiled in ([], ["add_partial_sums"])  # only where threads share a level


def test_a_program_may_end_while_kernels_compile() -> None:
    code = "from condense_nerfstudio.scene.warm_up import compile_in_background as c; c(); raise SystemExit(1)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and not done.stderr
