"""Stage one of cross-scene training: which captures there are, and what becomes of jobs that fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from condense_nerfstudio.backbone import fleet
from condense_nerfstudio.backbone.fleet import Job, find_captures, sole_user, train_nerfs
from condense_nerfstudio.backbone.settings import FleetConfig
from condense_nerfstudio.errors import UserError

CONFIG = FleetConfig(steps=3)


def captures(folder: Path, *names: str) -> list[Path]:
    made = []
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "transforms.json").write_text("{}")
        made.append(folder / name)
    return made


def test_captures_are_found_alone_and_in_folders(tmp_path: Path) -> None:
    first, second = captures(tmp_path / "many", "a", "b")
    (alone,) = captures(tmp_path, "c")
    (tmp_path / "many" / "notes").mkdir()
    assert find_captures((tmp_path / "many", alone)) == {"a": first, "b": second, "c": alone}
    assert find_captures((alone, alone)) == {"c": alone}


def test_names_that_occur_twice_get_their_folder_s(tmp_path: Path) -> None:
    captures(tmp_path / "one", "scene_000")
    captures(tmp_path / "two", "scene_000")
    assert set(find_captures((tmp_path / "one", tmp_path / "two"))) == {"one_scene_000", "two_scene_000"}


@pytest.mark.parametrize("made", ["nothing", "file", "empty"])
def test_paths_without_captures_are_named(tmp_path: Path, made: str) -> None:
    path = tmp_path / made
    if made == "file":
        path.write_text("")
    elif made == "empty":
        path.mkdir()
    with pytest.raises(UserError, match=f"--scenes .*{made}"):
        find_captures((path,))
    with pytest.raises(UserError, match="There is no scene"):
        find_captures(())


def fake(monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Every job runs this Python text, which knows `job_name`, `checkpoints` and `steps`."""

    def command(self: Job) -> list[str]:
        known = f"job_name={self.name!r}; checkpoints={str(self.checkpoints)!r}; steps={self.config.steps}\n"
        return [sys.executable, "-c", known + script]

    monkeypatch.setattr(Job, "command", command)


FINISH = """
from pathlib import Path
Path(checkpoints).mkdir(parents=True)
Path(checkpoints, f"step-{steps - 1:09d}.ckpt").write_text("")
"""


def test_a_scene_that_fails_is_reported_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, f"import sys\nif job_name == 'bad': sys.exit('condense: it has no images: add some.')\n{FINISH}")
    told: dict[str, str | None] = {}
    jobs = [Job(name, tmp_path / name, tmp_path / "nerfs", CONFIG) for name in ("a", "bad", "c")]
    failed = train_nerfs(jobs, 2, lambda name, reason: told.update({name: reason}))
    assert set(failed) == {"bad"} and "it has no images: add some. (exit 1; " in failed["bad"]
    assert told == {"a": None, "bad": failed["bad"], "c": None}
    assert (tmp_path / "nerfs" / "bad.log").is_file()
    # Again: what is done is not done again.
    fake(monkeypatch, "import sys; sys.exit(7)")
    again = train_nerfs(jobs, 2, lambda name, reason: None)
    assert set(again) == {"bad"} and "(exit 7; " in again["bad"]


def test_a_job_that_ends_well_without_a_checkpoint_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, "print('nothing to do')")
    failed = train_nerfs([Job("a", tmp_path, tmp_path / "nerfs", CONFIG)], 1, lambda name, reason: None)
    assert "nothing to do (exit 0" in failed["a"]


def test_an_interruption_ends_the_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(monkeypatch, f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(60)")

    def interrupted(futures: object) -> object:
        deadline = time.monotonic() + 20
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        raise KeyboardInterrupt

    monkeypatch.setattr(fleet, "as_completed", interrupted)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        train_nerfs([Job(name, tmp_path, tmp_path / "nerfs", CONFIG) for name in "ab"], 1, lambda name, reason: None)
    assert time.monotonic() - started < 30
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_training_that_was_cut_off_is_resumed(tmp_path: Path) -> None:
    job = Job("a", tmp_path, tmp_path / "nerfs", FleetConfig(steps=500, held_out=0.25))
    assert "--load-dir" not in job.command() and not job.done
    job.checkpoints.mkdir(parents=True)
    (job.checkpoints / "step-000000250.ckpt").write_text("")
    command = job.command()
    assert command[command.index("--load-dir") + 1] == str(job.checkpoints) and not job.done
    assert command[-1] == "0.75" and command[command.index("--pipeline.datamanager.visual.name") + 1] == "none"
    other = Job("a", tmp_path, tmp_path / "nerfs", FleetConfig(method="nerfacto"))
    assert "--pipeline.datamanager.visual.name" not in other.command()


def test_one_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    refused = pytest.raises(UserError, match="in use by another pre-training")
    with sole_user(tmp_path / "out"), refused, sole_user(tmp_path / "out"):
        pass
    with sole_user(tmp_path / "out"):
        pass


def test_a_killed_user_leaves_no_lock(tmp_path: Path) -> None:
    text = (
        "import sys, time; from pathlib import Path; from condense_nerfstudio.backbone.fleet import sole_user\n"
        "with sole_user(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", text, str(tmp_path / "out")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "in\n"
    with pytest.raises(UserError, match="in use"), sole_user(tmp_path / "out"):
        pass
    child.send_signal(signal.SIGKILL)
    child.wait()
    with sole_user(tmp_path / "out"):
        pass


@pytest.mark.parametrize(
    "flags", [{"steps": 0}, {"workers": 0}, {"cores": 0}, {"retries": -1}, {"held_out": 0.0}, {"held_out": 1.0}]
)
def test_settings_out_of_range_are_named(flags: dict[str, float]) -> None:
    with pytest.raises(UserError, match=r"--nerfs\."):
        FleetConfig(**flags)  # pyright: ignore[reportArgumentType]
