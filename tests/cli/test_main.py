"""Tests of the `condense` command's contract: exit statuses, what goes to which stream, and a quick `--help`."""

import importlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from condense_nerfstudio import __version__
from condense_nerfstudio.cli import main as cli

FAKE_COMMANDS = '''
"""Small subcommands in the place of the real ones."""

import ctypes
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from condense_nerfstudio.errors import UserError


@dataclass
class Measure:
    """Measures a scene."""

    scale: float = 1.0
    """A factor."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> dict:
        return {"psnr": 20.123456 * self.scale, "file": Path("a") / "[b]", "features": {"dinov2": {"cosine": 0.5}}}


@dataclass
class Shown(Measure):
    """Shows its result itself."""

    def show(self, result: dict) -> None:
        print("PSNR is", round(result["psnr"]))


@dataclass
class Noisy(Measure):
    """Chatters on standard output in every way there is."""

    def run(self) -> dict:
        print("from print")
        os.write(1, b"from the descriptor" + os.linesep.encode())
        ctypes.CDLL(None).puts(b"from C")
        subprocess.run([sys.executable, "-c", "print('from a child')"], check=True)
        return {"answer": 42}


@dataclass
class Endless(Measure):
    """Has results that JSON cannot hold."""

    def run(self) -> dict:
        return {"psnr": float("inf"), "features": [{"cosine": float("nan")}, 1.0]}


@dataclass
class Mistaken(Measure):
    """Finds a mistake."""

    def run(self) -> dict:
        print("working")
        raise UserError("Folder [x] does not exist: correct --data.")


@dataclass
class Interrupted(Measure):
    """Is interrupted."""

    def run(self) -> dict:
        raise KeyboardInterrupt


@dataclass
class Buggy(Measure):
    """Has a bug."""

    def run(self) -> dict:
        raise BrokenPipeError("a child process died")


@dataclass
class Wordy(Measure):
    """Answers at length."""

    def run(self) -> dict:
        return {str(index): "x" * 100 for index in range(10000)}
'''
NAMES = ["Measure", "Shown", "Noisy", "Endless", "Mistaken", "Interrupted", "Buggy", "Wordy"]
HEAVY = ["torch", "nerfstudio", "trimesh", "skimage", "numba", "transformers", "open3d", "cv2", "scipy"]


@pytest.fixture
def fakes(tmp_path, monkeypatch):
    """Puts the fake subcommands in the place of the real ones, in this process."""
    (tmp_path / "fake_commands.py").write_text(FAKE_COMMANDS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "fake_commands", raising=False)
    monkeypatch.setattr(cli, "COMMANDS", {name.lower(): ("fake_commands", name) for name in NAMES})


@pytest.fixture
def condense(tmp_path):
    """Runs `condense` with the fake subcommands in a process of its own, through a shell if a tail follows it."""
    (tmp_path / "fake_commands.py").write_text(FAKE_COMMANDS)
    (tmp_path / "condense.py").write_text(
        textwrap.dedent(f"""
        import sys
        sys.path[:0] = [{str(Path(cli.__file__).parents[2])!r}]
        from condense_nerfstudio.cli import main as cli
        cli.COMMANDS = {{name.lower(): ("fake_commands", name) for name in {NAMES}}}
        sys.exit(cli.main())
        """)
    )

    def run(arguments: str, tail: str = "") -> subprocess.CompletedProcess[str]:
        line = f"set -o pipefail; '{sys.executable}' '{tmp_path}/condense.py' {arguments} {tail}"
        return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)

    return run


def test_json_is_one_object_on_standard_output(fakes, capfd):
    assert cli.main(["measure", "--json", "--scale", "2"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out) == {"psnr": 40.246912, "file": "a/[b]", "features": {"dinov2": {"cosine": 0.5}}}
    assert out.count("\n") == 1
    assert err == ""


def test_without_json_every_value_gets_a_line(fakes, capfd):
    assert cli.main(["measure"]) == 0
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    assert lines == [["psnr", "20.12"], ["file", "a/[b]"], ["features"], ["dinov2"], ["cosine", "0.5"]]


def test_a_command_may_show_its_result_itself(fakes, capfd):
    assert cli.main(["shown"]) == 0
    assert capfd.readouterr().out == "PSNR is 20\n"


def test_a_command_that_shows_its_result_still_prints_json(fakes, capfd):
    assert cli.main(["shown", "--json"]) == 0
    assert "features" in json.loads(capfd.readouterr().out)


def test_numbers_that_json_cannot_hold_become_null(fakes, capfd):
    assert cli.main(["endless", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"psnr": None, "features": [{"cosine": None}, 1.0]}


def test_whatever_chatters_on_standard_output_lands_on_standard_error(condense):
    done = condense("noisy --json")
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"answer": 42}
    for source in ("print", "the descriptor", "C", "a child"):
        assert f"from {source}\n" in done.stderr


def test_a_users_mistake_is_one_sentence_and_status_1(condense):
    done = condense("mistaken --json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "working\ncondense: Folder [x] does not exist: correct --data.\n"


def test_an_interrupt_ends_with_status_130_and_no_traceback(condense):
    done = condense("interrupted --json")
    assert done.returncode == 130
    assert done.stdout == ""
    assert done.stderr == "condense: interrupted\n"


def test_a_bug_keeps_its_traceback(condense):
    done = condense("buggy")
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "a child process died" in done.stderr


@pytest.mark.parametrize("arguments", ["wordy", "wordy --json"])
def test_a_reader_that_goes_away_is_no_error(condense, arguments):
    done = condense(arguments, "| head -c 10")
    assert done.returncode == 0
    assert len(done.stdout) == 10
    assert done.stderr == ""


@pytest.mark.parametrize(
    "argv", [[], ["nonsense"], ["measure", "--nonsense"], ["measure", "--scale", "wide", "--json"]]
)
def test_bad_usage_is_status_2_and_says_so_on_standard_error(fakes, capfd, argv):
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    out, err = capfd.readouterr()
    assert left.value.code == 2
    assert out == ""
    assert "--help" in err


def test_help_names_the_subcommands_and_their_flags(fakes, capfd):
    with pytest.raises(SystemExit) as left:
        cli.main(["--help"])
    assert left.value.code == 0
    out = capfd.readouterr().out
    assert all(word in out for word in ("--version", "measure", "noisy", "mistaken"))
    with pytest.raises(SystemExit) as left:
        cli.main(["measure", "--help"])
    assert left.value.code == 0
    out = capfd.readouterr().out
    assert "--json" in out
    assert "--no-json" not in out
    assert "A factor." in out


def test_version_is_the_packages_version(capfd):
    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out == f"condense {__version__}\n"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_subcommand_exists_and_takes_json(name):
    module, cls = cli.COMMANDS[name]
    command = getattr(importlib.import_module(module), cls)
    assert command.__doc__
    assert callable(command.run)
    assert command.json is False or isinstance(command.json, property)  # that of a subcommand of its own


def test_help_of_every_subcommand_imports_nothing_heavy():
    code = textwrap.dedent(f"""
        import contextlib, sys
        from condense_nerfstudio.cli import main as cli
        for name in cli.COMMANDS:
            with contextlib.suppress(SystemExit):
                cli.main([name, "--help"])
        sys.exit(" ".join(name for name in {HEAVY} if name in sys.modules))
        """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stderr == "\n", "imported for --help"
    assert all(f"usage: condense {name}" in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize(
    ("argv", "rewritten"),
    [
        (["evaluate", "--json", "out.json"], ["evaluate", "--json-file", "out.json"]),
        (["evaluate", "--json"], ["evaluate", "--json"]),
        (["evaluate", "--json", "--load-config", "c"], ["evaluate", "--json", "--load-config", "c"]),
    ],
)
def test_json_takes_a_file_where_a_command_writes_one(argv, rewritten):
    assert cli.with_json_file(argv) == rewritten
