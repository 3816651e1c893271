"""Kernels on the CPU."""

from __future__ import annotations

import inspect
import sys
from types import FrameType
from typing import Any

import pytest

from condense_nerfstudio import compiled


class InterruptError(Exception):
    """What nerfstudio's viewer raises in a view under way when the camera moves."""


def run_and_interrupt(line: int) -> int:
    """Runs a kernel and raises at the so manieth line that is traced; returns the number of lines."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == line:
                raise InterruptError
        return trace

    sys.settrace(trace)
    try:
        inspect.unwrap(compiled.run)(lambda threads: None)
    finally:
        sys.settrace(None)
    return lines


def test_an_interrupt_at_any_line_leaves_kernels_free_to_run() -> None:
    before = sys.gettrace()
    try:
        total = run_and_interrupt(0)
        assert total > 3
        for line in range(1, total + 1):
            with pytest.raises(InterruptError):
                run_and_interrupt(line)
            assert compiled.KERNEL_LOCK.acquire(timeout=1.0), f"still locked after an interrupt at line {line}"
            compiled.KERNEL_LOCK.release()
    finally:
        sys.settrace(before)
