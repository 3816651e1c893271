"""The pipeline: nerfstudio's, with questions in text and with errors that a user can read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from nerfstudio.pipelines.base_pipeline import VanillaPipeline, VanillaPipelineConfig

from condense_nerfstudio.cpu import prepare_cpu
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.data_manager import CondenseDataManager, CondenseDataManagerConfig
from condense_nerfstudio.scene.model import CondenseModel
from condense_nerfstudio.scene.model_config import CondenseModelConfig
from condense_nerfstudio.scene.warm_up import compile_in_background
from condense_nerfstudio.teachers.text import TextEncoder, checked_phrases


@contextmanager
def user_errors_exit() -> Iterator[None]:
    """Ends the program with status 1 and the error's one sentence: the ns-* commands would show a traceback."""
    try:
        yield
    except UserError as error:
        print(f"condense: {error}", file=sys.stderr)
        raise SystemExit(1) from error


@dataclass
class CondensePipelineConfig(VanillaPipelineConfig):
    """Configuration of the pipeline."""

    _target: type = field(default_factory=lambda: CondensePipeline)
    datamanager: CondenseDataManagerConfig = field(default_factory=CondenseDataManagerConfig)
    """The images, the rays and the teachers."""
    model: CondenseModelConfig = field(default_factory=CondenseModelConfig)
    """The field, the feature heads and the 2D branch."""


class CondensePipeline(VanillaPipeline):
    """Data manager and model of one scene; takes what :class:`VanillaPipeline` takes."""

    config: CondensePipelineConfig
    datamanager: CondenseDataManager

    def __init__(self, config: CondensePipelineConfig, device: torch.device | str, **kwargs: Any) -> None:
        if torch.device(device).type == "cpu":
            prepare_cpu()
            compile_in_background()
        with user_errors_exit():
            super().__init__(config, str(device), **kwargs)
            self._prepare_text(device)

    def _prepare_text(self, device: torch.device | str) -> None:
        """Gets ready for questions in text; encodes the configured phrases now, so that errors come before work."""
        language, phrases = self.config.datamanager.language, self.config.model.phrases
        if language.name != "none":
            self.model.text = TextEncoder(language, device)
        if not phrases:
            return
        if self.model.text is None:
            raise UserError("Phrases need a language teacher: set --pipeline.datamanager.language.name.")
        self.config.model.phrases = checked_phrases(phrases)
        self.config.model.negatives = checked_phrases(self.config.model.negatives)
        self.model.text.encode(self.config.model.phrases)

    @property
    def model(self) -> CondenseModel:
        """The model, unwrapped."""
        model = super().model
        assert isinstance(model, CondenseModel)
        return model

    def load_pipeline(self, loaded_state: dict[str, Any], step: int) -> None:
        """Loads a checkpoint; ends the program with one sentence where it does not fit."""
        with user_errors_exit():
            try:
                super().load_pipeline(loaded_state, step)
            except RuntimeError as error:
                # torch lists every parameter that differs, one a line; the first one tells enough.
                fault = str(error).splitlines()[min(1, str(error).count("\n"))].strip().rstrip(".")
                raise UserError(
                    f"The checkpoint does not fit this configuration or capture ({fault}): use the config.yml and the "
                    "images of its own training."
                ) from error
