"""The `condense` command: finds the subcommand, runs it, prints its answer, turns errors into exit statuses.

A subcommand is a dataclass in a module of its own, whose fields are its flags. Those modules import nothing heavy at
the top, so that `--help` is there at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import tyro
from rich.console import Console
from rich.markup import escape

from condense_nerfstudio import __version__
from condense_nerfstudio.errors import UserError

DONE, USER_ERROR, INTERRUPTED = 0, 1, 130  # tyro itself leaves with 2 after bad usage

COMMANDS = {
    "demo-scenes": ("condense_nerfstudio.cli.demo_scenes", "DemoScenes"),
    "duplicates": ("condense_nerfstudio.cli.duplicates", "Duplicates"),
    "embed": ("condense_nerfstudio.cli.embed", "Embed"),
    "evaluate": ("condense_nerfstudio.cli.evaluate", "Evaluate"),
    "keypoints": ("condense_nerfstudio.cli.keypoints", "Keypoints"),
    "locate": ("condense_nerfstudio.cli.locate", "Locate"),
    "pretrain": ("condense_nerfstudio.cli.pretrain", "Pretrain"),
    "query": ("condense_nerfstudio.cli.query", "Query"),
    "render": ("condense_nerfstudio.cli.render", "Render"),
    "repo": ("condense_nerfstudio.cli.repo", "Repo"),
}
"""Name of each subcommand -> its module and class."""


@runtime_checkable
class Command(Protocol):
    """What the dataclass of a subcommand offers.

    It may also have `show(result) -> None`, which prints the answer on standard output for people; without it the
    answer is printed as lines of `key  value`; and `status(result) -> int`, the exit status after an answer that is no
    success.
    """

    json: bool
    """Print the answer as one JSON object on standard output, and nothing else there."""

    def run(self) -> Mapping[str, Any]:
        """Does the work and returns the answer: names to plain Python numbers, strings, paths, lists and mappings.

        Raises:
            UserError: a mistake that the user can mend.
        """
        ...


def main(argv: Sequence[str] | None = None) -> int:
    """Runs `condense`.

    Args:
        argv: the arguments after the command's name; those of this process by default.

    Returns:
        The exit status: 0 done, 1 a user's error (one sentence on standard error), 130 interrupted.

    Raises:
        SystemExit: with 2 after bad usage, with 0 after `--help`.
    """
    argv = sys.argv[1:] if argv is None else argv
    try:
        if list(argv) == ["--version"]:
            print(f"condense {__version__}")
            return DONE
        command = parse(argv)
        with stdout_on_stderr():
            result = command.run()
        answer(command, result)
        return getattr(command, "status", lambda result: DONE)(result)
    except UserError as error:
        print(f"condense: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("condense: interrupted", file=sys.stderr)
        return INTERRUPTED


def parse(argv: Sequence[str]) -> Command:
    """Reads the flags into the dataclass of the subcommand that they name. Leaves with status 2 on bad usage."""
    classes = {name: getattr(importlib.import_module(module), cls) for name, (module, cls) in COMMANDS.items()}
    flags = [word.split("=")[0] for word in argv if word.startswith("--")]
    for flag in flags:
        if flags.count(flag) > 1:
            raise UserError(f"{flag} was given more than once: pass it once, with all its values after it.")
    if argv and hasattr(classes.get(argv[0]), "json_file"):
        argv = with_json_file(argv)
    return tyro.extras.subcommand_cli_from_dict(
        classes,
        prog="condense",
        description="ConDense for nerfstudio: what ns-train, ns-viewer, ns-eval and ns-render do not do. "
        "`condense --version` tells the version.",
        args=argv,
        config=(tyro.conf.FlagCreatePairsOff,),
    )


def with_json_file(argv: Sequence[str]) -> list[str]:
    """Turns `--json FILE` into `--json-file FILE`; `--json` alone stays what it is in every subcommand."""
    argv = list(argv)
    for i, (flag, value) in enumerate(pairwise(argv)):
        if flag == "--json" and not value.startswith("-"):
            argv[i] = "--json-file"
    return argv


@contextlib.contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Sends to standard error whatever Python, C or child processes write to standard output meanwhile.

    Standard output is for the answer only, and libraries chatter there.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if os.name == "posix":
            ctypes.CDLL(None).fflush(None)  # C keeps a buffer of its own, which would come out at exit
        os.dup2(stdout, 1)
        os.close(stdout)


def answer(command: Command, result: Mapping[str, Any]) -> None:
    """Prints the result of a subcommand on standard output, as JSON or for people."""
    show = getattr(command, "show", _show_lines)
    try:
        if command.json:
            print(as_json(result))
        else:
            show(result)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):  # rich turns the one into the other
        # The reader has seen enough, as in `condense ... | head`; without this Python complains once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def as_json(result: Mapping[str, Any]) -> str:
    """One line of JSON. JSON has no infinity and no NaN: such numbers become null."""
    return json.dumps(_without_non_finite(result), allow_nan=False, default=os.fspath)


def _show_lines(result: Mapping[str, Any]) -> None:
    console = Console()
    for line in _lines(result):
        console.print(line, soft_wrap=True)


def _lines(result: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for key, value in result.items():
        label = f"{indent}[bold]{escape(str(key))}[/bold]"
        if isinstance(value, Mapping):
            yield label
            yield from _lines(value, indent + "  ")
        else:
            yield f"{label}  " + (f"{value:.4g}" if isinstance(value, float) else escape(str(value)))


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_non_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
