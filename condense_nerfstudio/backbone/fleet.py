"""Stage one of cross-scene training: a NeRF for every capture, one job each, a few at a time on this machine."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from condense_nerfstudio.backbone.settings import FleetConfig
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.files import make_folder

_STEPS_PER_SAVE = 250
_RUN = "run"
"""In place of nerfstudio's time stamp, so that a job finds what it left."""
_LONGEST_REASON = 200


@dataclass(frozen=True)
class Job:
    """One NeRF."""

    name: str
    capture: Path
    folder: Path
    """Of all NeRFs."""
    config: FleetConfig

    @property
    def run(self) -> Path:
        """Where nerfstudio puts this training."""
        return self.folder / self.name / self.config.method / _RUN

    @property
    def checkpoints(self) -> Path:
        """Where its checkpoints are."""
        return self.run / "nerfstudio_models"

    @property
    def done(self) -> bool:
        """Whether the last checkpoint is there."""
        return (self.checkpoints / f"step-{self.config.steps - 1:09d}.ckpt").exists()

    def command(self) -> list[str]:
        """What is run; a training that was cut off is resumed."""
        config = self.config
        command = [
            str(Path(sys.executable).parent / "ns-train"), config.method, "--data", str(self.capture),
            "--vis", "tensorboard", "--output-dir", str(self.folder), "--experiment-name", self.name,
            "--timestamp", _RUN, "--max-num-iterations", str(config.steps),
            "--steps-per-save", str(_STEPS_PER_SAVE),
        ]  # fmt: skip
        if config.method.startswith("condense"):
            for part in ("visual", "language", "detector"):
                command += [f"--pipeline.datamanager.{part}.name", "none"]
        if any(self.checkpoints.glob("*.ckpt")):
            command += ["--load-dir", str(self.checkpoints)]
        return [*command, "nerfstudio-data", "--train-split-fraction", str(1.0 - config.held_out)]


Report = Callable[[str, str | None], None]
"""Told the name of every scene that has ended, and the reason if it failed."""


def train_nerfs(jobs: Sequence[Job], workers: int, report: Report) -> dict[str, str]:
    """Trains the NeRFs that are not there yet, on this machine.

    Args:
        jobs: the NeRFs.
        workers: how many are trained at the same time.
        report: told of every scene that has ended.

    Returns:
        The reasons of the scenes that failed.
    """
    failed: dict[str, str] = {}
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ThreadPoolExecutor(workers) as pool, Processes() as processes:
        futures = {pool.submit(run_job, job, threads, processes): job for job in jobs}
        for future in as_completed(futures):
            name, reason = futures[future].name, future.result()
            if reason is not None:
                failed[name] = reason
            report(name, reason)
    return failed


def run_job(job: Job, threads: int, processes: Processes) -> str | None:
    """Trains one NeRF, if it is not there yet.

    Args:
        job: the NeRF.
        threads: how many processor cores it may use.
        processes: what its process ends with.

    Returns:
        Why it failed, if it did.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    log = job.folder / f"{job.name}.log"
    make_folder(job.folder)
    with (job.folder / f".{job.name}.lock").open("w") as lock:
        # The child holds the lock, too: where a pre-training was killed, its NeRF may still be in training.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if job.done:
            return None
        with log.open("w") as stream:
            status = processes.run(job.command(), stream.fileno(), lock.fileno(), environment)
    if status == 0 and job.done:
        return None
    # Our own commands end with one sentence, which is all that a reader needs.
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if line.startswith("condense: ")), lines[-1] if lines else "")
    return f"{said.removeprefix('condense: ')[:_LONGEST_REASON]} (exit {status}; {log})"


class Processes:
    """The running children, all of which end when this does: by an error, or by Ctrl-C."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._closed = False

    def run(self, command: list[str], output: int, lock: int, environment: Mapping[str, str]) -> int:
        """Runs a command to its end, in a process group of its own; returns its exit status.

        Args:
            command: the program and its arguments.
            output: file descriptor for all that it prints.
            lock: file descriptor that it keeps open.
            environment: its environment.
        """
        with self._lock:
            if self._closed:
                return -signal.SIGTERM
            child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=(lock,),
                start_new_session=True,
            )
            self._running.add(child)
        try:
            return child.wait()
        finally:
            with self._lock:
                self._running.discard(child)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._closed = True
            running = list(self._running)
        for child in running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGTERM)


def find_captures(paths: tuple[Path, ...]) -> dict[str, Path]:
    """The captures in folders, by the names of their scenes.

    Args:
        paths: each a capture, or a folder of captures. A name that occurs twice gets that of the folder above.

    Raises:
        UserError: a path is no folder, or there is no capture in it.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            raise UserError(f"--scenes {path} is no folder: name folders of captures.")
        inside = [path] if _is_capture(path) else sorted(child for child in path.iterdir() if _is_capture(child))
        if not inside:
            raise UserError(f"--scenes {path} holds no capture (no folder with a transforms.json): name another.")
        found += [capture.absolute() for capture in inside]
    if not found:
        raise UserError("There is no scene: name folders of captures with --scenes.")
    captures: dict[str, Path] = {}
    distinct = list(dict.fromkeys(found))
    names = [capture.name for capture in distinct]
    for capture in distinct:
        name = capture.name if names.count(capture.name) == 1 else f"{capture.parent.name}_{capture.name}"
        if name in captures:
            raise UserError(f"Two scenes are called {name} ({captures[name]}, {capture}): rename one of the folders.")
        captures[name] = capture
    return captures


def _is_capture(folder: Path) -> bool:
    return (folder / "transforms.json").is_file()


@contextlib.contextmanager
def sole_user(folder: Path) -> Iterator[None]:
    """Refuses a folder in which another pre-training is at work; ends with the process, however that ends.

    Raises:
        UserError: the folder is in use, or cannot be made.
    """
    make_folder(folder)
    try:
        stream = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}): choose another --output-dir.") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UserError(f"{folder} is in use by another pre-training: wait, or choose another folder.") from error
        yield
