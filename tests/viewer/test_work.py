"""Work beside the viewer."""

from __future__ import annotations

import threading
import time

import pytest

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.viewer.work import Progress, Work


class Log:
    """What a viewer was told."""

    def __init__(self) -> None:
        self.reports: list[tuple[str, float]] = []
        self.failures: list[str] = []
        self.work = Work(lambda what, share: self.reports.append((what, share)))

    def start(self, name: str, job, delay: float = 0.0) -> None:
        """Has a job done."""
        self.work.start(name, job, self.failures.append, delay)


@pytest.fixture
def log() -> Log:
    return Log()


def test_jobs_are_done_one_at_a_time_in_the_order_of_asking(log: Log) -> None:
    done, running = [], []

    def job(name: str):
        def run(progress: Progress) -> None:
            running.append(name)
            assert len(running) == 1
            time.sleep(0.01)
            done.append(running.pop())

        return run

    for name in "abcde":
        log.start(name, job(name))
    assert log.work.wait(5.0)
    assert done == list("abcde") and not log.failures


def test_the_end_is_reported_once_nothing_is_left(log: Log) -> None:
    log.start("a", lambda progress: progress("Reading", 0.5))
    assert log.work.wait(5.0)
    assert log.reports == [("Reading", 0.5), ("", 1.0)]


def test_a_newer_job_of_a_name_replaces_the_one_that_waits(log: Log) -> None:
    done = []
    for i in range(20):
        log.start("typed", lambda progress, i=i: done.append(i), delay=0.05)
    assert log.work.wait(5.0)
    assert done == [19]


def test_a_delayed_job_does_not_hold_up_others(log: Log) -> None:
    done = []
    log.start("typed", lambda progress: done.append("typed"), delay=0.3)
    log.start("click", lambda progress: done.append("click"))
    assert log.work.wait(5.0)
    assert done == ["click", "typed"]


def endless(started: threading.Event) -> object:
    """A job that ends when it is cancelled."""

    def run(progress: Progress) -> None:
        while True:
            started.set()
            progress("Searching", 0.1)
            time.sleep(0.005)

    return run


def test_what_is_under_way_can_be_cancelled_and_work_goes_on(log: Log) -> None:
    started = threading.Event()
    log.start("search", endless(started))
    log.start("waiting", endless(started))
    assert started.wait(5.0)
    log.work.cancel()
    assert log.work.wait(5.0) and not log.failures and log.reports[-1] == ("", 1.0)
    done = []
    log.start("search", lambda progress: done.append(1))
    assert log.work.wait(5.0) and done == [1]


def test_the_same_question_again_replaces_the_one_under_way(log: Log) -> None:
    started, done = threading.Event(), []
    log.start("search", endless(started))
    assert started.wait(5.0)
    log.start("search", lambda progress: done.append(1))
    assert log.work.wait(5.0) and done == [1] and not log.failures


def test_a_failure_is_told_in_a_sentence_and_does_not_end_the_thread(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(progress: Progress) -> None:
        raise UserError("There is no surface: click on something solid.")

    def break_down(progress: Progress) -> None:
        raise ZeroDivisionError

    log.start("a", refuse)
    log.start("b", break_down)
    assert log.work.wait(5.0)
    assert log.failures[0] == "There is no surface: click on something solid."
    assert "ZeroDivisionError" in log.failures[1] and "ZeroDivisionError" in capsys.readouterr().err
    done = []
    log.start("c", lambda progress: done.append(1))
    assert log.work.wait(5.0) and done == [1]
