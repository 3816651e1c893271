"""What takes longer than a blink, done one at a time beside the viewer: with progress, and cancelled on request."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from condense_nerfstudio.errors import UserError

Progress = Callable[[str, float], None]
"""Called by a job with what it is doing and the share that is done, in 0..1; raises CancelledError to end it."""

Job = Callable[[Progress], None]


class CancelledError(Exception):
    """Nobody waits for this job any more."""


@dataclass
class _Task:
    job: Job
    failed: Callable[[str], None]
    due: float
    cancelled: bool = False


class Work:
    """A thread of jobs. A job of a name replaces one of the same name, be it waiting or under way.

    Args:
        report: told what is being done and its share in 0..1, and ("", 1.0) when nothing is left to do.
    """

    def __init__(self, report: Progress) -> None:
        self._report = report
        self._tasks: dict[str, _Task] = {}
        self._current: _Task | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def start(self, name: str, job: Job, failed: Callable[[str], None], delay: float = 0.0) -> None:
        """Has a job done after those that wait.

        Args:
            name: of the job; an older one of this name is cancelled.
            job: is given a function to tell its progress.
            failed: told in a sentence why the job failed; not called where it was cancelled.
            delay: seconds to wait first, for whoever is still typing.
        """
        with self._changed:
            self._cancel(name)
            self._tasks[name] = _Task(job, failed, time.monotonic() + delay)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="condense-viewer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def cancel(self) -> None:
        """Gives up all that is waiting or under way."""
        with self._changed:
            for name in list(self._tasks):
                self._cancel(name)

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._current is not None

    def wait(self, timeout: float) -> bool:
        """Waits until nothing is left to do; whether that came true in so many seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._tasks, timeout)

    def _cancel(self, name: str) -> None:
        task = self._tasks.get(name)
        if task is None:
            return
        task.cancelled = True
        if task is not self._current:
            del self._tasks[name]

    def _next(self) -> tuple[str, _Task]:
        """Waits for the task that is due first."""
        while True:
            waiting = min(self._tasks.items(), key=lambda item: item[1].due, default=None)
            pause = None if waiting is None else waiting[1].due - time.monotonic()
            if waiting is not None and pause is not None and pause <= 0:
                return waiting
            self._changed.wait(pause)

    def _run(self) -> None:
        while True:
            with self._changed:
                name, task = self._next()
                self._current = task
            self._do(task)
            with self._changed:
                self._current = None
                if self._tasks.get(name) is task:
                    del self._tasks[name]
                if not self._tasks:
                    self._report("", 1.0)
                self._changed.notify_all()

    def _do(self, task: _Task) -> None:
        """Runs one job to its end; nothing that it raises ends the thread."""

        def progress(what: str, share: float) -> None:
            if task.cancelled:
                raise CancelledError
            self._report(what, share)

        try:
            task.job(progress)
        except CancelledError:
            pass
        except UserError as error:
            task.failed(str(error))
        except Exception as error:
            traceback.print_exc()
            task.failed(f"This failed ({type(error).__name__}); the terminal has the details.")
