"""What nerfstudio's entry points load, at the start of every ns-* command.

nerfstudio loads entry points without a guard: an exception here would end `ns-train nerfacto` too. So nothing here
raises: a method that cannot be loaded is left out, with one yellow line that says why.
"""

from __future__ import annotations

import importlib
import textwrap
import traceback

from nerfstudio.plugins.types import MethodSpecification
from nerfstudio.utils.rich_utils import CONSOLE
from rich.markup import escape

from condense_nerfstudio.checkpoints import allow_numpy_scalars


class UnavailableMethod:
    """Takes the place of a method that could not be loaded.

    nerfstudio's `discover_methods` leaves out whatever is no MethodSpecification, and puts the text of the object into
    the yellow line that it prints then: the reason reaches the user without a second line from here.
    """

    def __init__(self, name: str, error: Exception) -> None:
        self.name = name
        self.reason = _in_one_line(error)

    def __str__(self) -> str:
        return escape(f"{self.name} ({self.reason})")


def load_method(name: str) -> MethodSpecification | UnavailableMethod:
    """Loads the method registered under a name, `condense-lite` from method_configs/condense_lite.py. Never raises."""
    try:
        return importlib.import_module(f"condense_nerfstudio.method_configs.{name.replace('-', '_')}").method
    except Exception as error:
        return UnavailableMethod(name, error)


def mend_checkpoint_loading() -> None:
    """Lets nerfstudio load its own checkpoints (see `allow_numpy_scalars`). Warns where that fails, never raises."""
    try:
        allow_numpy_scalars()
    except Exception as error:
        reason = escape(_in_one_line(error))
        CONSOLE.print(f"[bold yellow]Warning: condense left checkpoint loading as it is ({reason})", soft_wrap=True)


def change_commands() -> None:
    """Adds condense-keypoints to ns-export and keeps ns-viewer to this machine (see exporter_hook, viewer_hook).

    Warns where that fails, never raises.
    """
    try:
        from condense_nerfstudio.exporter_hook import extend_exporter
        from condense_nerfstudio.viewer_hook import extend_viewer

        extend_exporter()
        extend_viewer()
    except Exception as error:
        reason = escape(_in_one_line(error))
        CONSOLE.print(
            f"[bold yellow]Warning: condense left ns-export and ns-viewer as they are ({reason})", soft_wrap=True
        )


def _in_one_line(error: Exception) -> str:
    return textwrap.shorten(" ".join(traceback.format_exception_only(error)), width=200, placeholder=" ...")


mend_checkpoint_loading()
change_commands()
condense = load_method("condense")
condense_lite = load_method("condense-lite")
