"""Changes modules of nerfstudio's commands that have no place for plugins.

nerfstudio loads our entry point while the module of the command is still being imported: what shall be changed does not
exist yet, and whatever is set there then is overwritten. So the module is given a class whose `entrypoint`, when the
console script fetches it, has the change made first.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from nerfstudio.utils.rich_utils import CONSOLE

Change = Callable[[dict[str, Any]], None]
"""Given the module's names. Called whenever the entry point is fetched; raises where nerfstudio has another shape."""

_changes: dict[str, tuple[Change, str]] = {}


class _ChangedModule(ModuleType):
    """A command's module that is changed when it is started."""

    @property
    def entrypoint(self) -> Callable[[], None]:
        """What the console script calls. Stays as it is, with a warning, where nerfstudio has changed its shape."""
        change, consequence = _changes[self.__name__]
        try:
            change(self.__dict__)
        except Exception as error:
            CONSOLE.print(f"[bold yellow]Warning: {consequence} ({type(error).__name__}).", soft_wrap=True)
        return self.__dict__["entrypoint"]


def change_before_start(name: str, change: Change, consequence: str) -> None:
    """Has a module changed before its command starts, if it is this command that is being started.

    Args:
        name: of the module.
        change: what to do.
        consequence: what the user is told where that fails.
    """
    module = sys.modules.get(name)
    if module is not None and not isinstance(module, _ChangedModule):
        _changes[name] = change, consequence
        module.__class__ = _ChangedModule
