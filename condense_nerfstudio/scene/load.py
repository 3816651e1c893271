"""Opens a trained scene from the config.yml that ns-train wrote."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.pipelines.base_pipeline import Pipeline
from nerfstudio.utils.eval_utils import eval_setup

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.scene.pipeline import CondensePipeline, CondensePipelineConfig

TRAINING_TAG = f"tag:yaml.org,2002:python/object:{TrainerConfig.__module__}.{TrainerConfig.__qualname__}"
"""What the top of a config.yml written by ns-train says that it is."""


def load_scene(config_path: Path, phrases: Sequence[str] = (), negatives: Sequence[str] = ()) -> CondensePipeline:
    """Opens a trained scene, in evaluation mode.

    nerfstudio's own loader reads the file, which can run code: open only configurations that you made or trust.

    Args:
        config_path: a config.yml written by ns-train condense or condense-lite.
        phrases: what to look for; each becomes an output `relevancy_<i>`.
        negatives: what phrases must beat, beside the language teacher's canonical phrases.

    Raises:
        UserError: the file or its checkpoint is missing, the file is no configuration, or the scene was trained with
            another method.
    """

    def with_phrases(config: TrainerConfig) -> None:
        """Refuses other methods' trainings and sets the phrases."""
        if not isinstance(config.pipeline, CondensePipelineConfig):
            raise UserError(
                f"{config_path} was trained with {config.method_name}: train the scene with condense or condense-lite."
            )
        config.pipeline.model.phrases = tuple(phrases)
        config.pipeline.model.negatives = tuple(negatives)

    pipeline = open_training(config_path, with_phrases).pipeline
    assert isinstance(pipeline, CondensePipeline)
    return pipeline


@dataclass(frozen=True)
class Training:
    """A training of any nerfstudio method, opened."""

    config: TrainerConfig
    pipeline: Pipeline
    """In evaluation mode."""
    checkpoint: Path
    """The file that was loaded."""


def open_training(
    config_path: Path,
    prepare: Callable[[TrainerConfig], None] = lambda config: None,
    test_mode: Literal["test", "inference"] = "test",
) -> Training:
    """Opens what ns-train left, whatever its method.

    nerfstudio's own loader reads the file, which can run code: open only configurations that you made or trust.

    Args:
        config_path: a config.yml written by ns-train.
        prepare: looks at the configuration, and may change it, before anything is built.
        test_mode: nerfstudio's; "inference" reads no images.

    Raises:
        UserError: the file or its checkpoint is missing, or the file is no configuration.
    """
    _check_config(config_path)

    def prepared(config: TrainerConfig) -> TrainerConfig:
        """The configuration, where there is a checkpoint to go with it."""
        prepare(config)
        if not any(config.get_checkpoint_dir().glob("*.ckpt")):
            raise UserError(
                f"{config.get_checkpoint_dir()} holds no checkpoint: train the scene first, or, if that path is "
                "relative, go to the folder in which it was trained."
            )
        return config

    try:
        config, pipeline, checkpoint, _ = eval_setup(config_path, test_mode=test_mode, update_config_callback=prepared)
    except yaml.YAMLError as error:
        raise _unreadable(config_path, error) from error
    return Training(config, pipeline, checkpoint)


def _check_config(path: Path) -> None:
    """What nerfstudio's loader would answer with a traceback gets a sentence."""
    if path.is_dir():
        raise UserError(f"Config {path} is a folder: pass --load-config the config.yml in it.")
    if not path.is_file():
        raise UserError(f"Config {path} does not exist: pass --load-config the config.yml of a training.")
    try:
        root = yaml.compose(path.read_text(), Loader=yaml.SafeLoader)  # parses, but makes no object of what it says
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise _unreadable(path, error) from error
    if root is None or root.tag != TRAINING_TAG:
        raise UserError(f"Config {path} is no training's: pass --load-config a config.yml that ns-train wrote.")


def _unreadable(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(f"Config {path} cannot be read ({reason}): pass the config.yml of a training.")
