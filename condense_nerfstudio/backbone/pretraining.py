"""Cross-scene training: both branches on many scenes at once; killed at any moment, it goes on where it was."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from condense_nerfstudio.backbone.joint import JointModel
from condense_nerfstudio.backbone.joint_step import scene_losses
from condense_nerfstudio.backbone.muon import Muon
from condense_nerfstudio.backbone.ranks import Ranks
from condense_nerfstudio.backbone.scenes import Scene
from condense_nerfstudio.backbone.settings import PretrainingConfig
from condense_nerfstudio.backbone.tensor_file import write_tensors
from condense_nerfstudio.errors import UserError
from condense_nerfstudio.spread import evenly_chosen
from condense_nerfstudio.teachers.statistics import feature_statistics

_STATISTICS_MAPS = 200
"""Feature maps from which a teacher's mean and principal components are taken, evenly chosen over all scenes."""
_LEAST_RATE = 0.02
"""Share of the learning rate that is left at the end."""


class Pretraining:
    """A training of one backbone on a list of scenes.

    What a step draws depends on the seed and the step alone, so that a resumed training is the same training.

    Args:
        model: the network, with the teachers of its LoRA; its heads start from the teachers' statistics unless the
            state is resumed.
        scenes: what it is trained on.
        config: how.
        state: the file in which the state is kept.
        ranks: the processes that share the scenes of a step; their number changes nothing but the time.
    """

    def __init__(
        self,
        model: JointModel,
        scenes: Sequence[Scene],
        config: PretrainingConfig,
        state: Path,
        ranks: Ranks | None = None,
    ) -> None:
        self.model = model
        self.scenes = scenes
        self.config = config
        self.step = 0
        """Steps that are done."""
        self.losses: dict[str, float] = {}
        """Of the last step."""
        self._state = state
        self._ranks = ranks or Ranks()
        self._device = next(model.parameters()).device
        model.mixed_precision = config.mixed_precision and self._device.type == "cuda"
        self._optimizers = _optimizers(model, config)
        self._embeddings: dict[str, Tensor] = {}
        if state.exists():
            self._resume()
        else:
            self._start_heads()

    def run(self, report: Callable[[int, Mapping[str, float]], None]) -> None:
        """Trains to the end.

        Args:
            report: told the number of steps done, and the loss and its terms in the last of them.

        Raises:
            UserError: the loss is not a number, or the state cannot be written.
        """
        while self.step < self.config.steps:
            self.losses = self._take_step()
            self.step += 1
            last = self.step == self.config.steps
            if self._ranks.first and (last or self.step % self.config.steps_per_save == 0):
                self._save()
            report(self.step, self.losses)

    def _take_step(self) -> dict[str, float]:
        """One step of the optimizer; returns its losses."""
        config, step = self.config, self.step
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] * _rate(step, config)
            optimizer.zero_grad()
        chosen = self._scenes_of(step)
        found: dict[str, dict[str, float]] = {}
        embeddings: dict[str, Tensor] = {}
        for slot, scene in list(enumerate(chosen))[self._ranks.rank :: self._ranks.size]:
            others = [value for name, value in sorted(self._embeddings.items()) if name != scene.name]
            bank = torch.stack(others) if others else torch.zeros(0, self.model.embedding.dim)
            answer = scene_losses(self.model, scene, bank.to(self._device), config.step, (config.seed, step, slot))
            loss = torch.stack(list(answer.losses.values())).sum() / len(chosen)
            loss.backward()
            embeddings[scene.name] = answer.embedding.cpu()
            found[scene.name] = {name: value.item() for name, value in answer.losses.items()}
        self._embeddings |= self._ranks.gathered(embeddings)
        terms = _means(self._ranks.gathered(found), [scene.name for scene in chosen])
        if not math.isfinite(terms["loss"]):
            names = ", ".join(scene.name for scene in chosen)
            raise UserError(f"The loss is not a number in step {step} ({names}): lower --learning-rate and start anew.")
        self._ranks.sum_gradients(self.model.parameters())
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), config.longest_gradient)
        for optimizer in self._optimizers:
            optimizer.step()
        return terms

    def _scenes_of(self, step: int) -> list[Scene]:
        """The scenes of a step: every scene once before any comes again."""
        count, wanted = len(self.scenes), min(self.config.scenes_per_step, len(self.scenes))
        places = range(step * wanted, (step + 1) * wanted)
        orders = {epoch: np.random.default_rng([self.config.seed, epoch]).permutation(count)
                  for epoch in {place // count for place in places}}  # fmt: skip
        return [self.scenes[orders[place // count][place % count]] for place in places]

    def _start_heads(self) -> None:
        for name, dim in self.model.config.teachers.items():
            maps = [scene.maps[name][i] for scene in self.scenes for i in scene.views.indices(held_out=False)]
            chosen = evenly_chosen(len(maps), _STATISTICS_MAPS)
            self.model.head(name).start_from(feature_statistics((maps[i] for i in chosen), dim))

    def _save(self) -> None:
        """Writes everything that a resumed training needs."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for optimizer in self._optimizers:
                values = optimizer.state.get(parameter, {})
                tensors |= {f"optimizer.{kind}.{name}": torch.as_tensor(value) for kind, value in values.items()}
        tensors |= {f"embedding.{name}": value for name, value in self._embeddings.items()}
        metadata = {
            "step": str(self.step),
            "scenes": "\n".join(scene.name for scene in self.scenes),
            "losses": json.dumps(self.losses),
        }
        write_tensors(self._state, tensors, metadata, "State")

    def _resume(self) -> None:
        """Takes the state up again.

        Raises:
            UserError: the state is broken, or of other scenes or another network.
        """
        try:
            with safe_open(self._state, framework="pt") as opened:
                metadata = opened.metadata() or {}
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
            if metadata["scenes"] != "\n".join(scene.name for scene in self.scenes):
                raise UserError(
                    f"{self._state} belongs to a training on other scenes: choose another --output-dir, or delete it."
                )
            self.model.load_state_dict(_under(tensors, "model."))
            state: dict[str, dict[str, Tensor]] = {}
            for key, value in _under(tensors, "optimizer.").items():
                kind, name = key.split(".", 1)
                state.setdefault(name, {})[kind] = value
            names = {parameter: name for name, parameter in self.model.named_parameters()}
            for optimizer in self._optimizers:
                known = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
                found = {place: state[name] for place, name in enumerate(known) if name in state}
                optimizer.load_state_dict({**optimizer.state_dict(), "state": found})
            self._embeddings = _under(tensors, "embedding.")
            self.step = int(metadata["step"])
            self.losses = json.loads(metadata["losses"])
        except (OSError, ValueError, LookupError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(f"{self._state} cannot be resumed ({reason}): delete it to start anew.") from error


def _optimizers(model: JointModel, config: PretrainingConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Muon for the matrices between the backbone's input and output, AdamW for all else; the LoRA has its own rate."""
    hidden = [parameter for parameter in model.backbone.parameters() if parameter.ndim > 1]
    lora = list(model.lora.parameters())
    known = {*hidden, *lora}
    groups: list[dict[str, Any]] = [{"params": [p for p in model.parameters() if p not in known]}]
    if lora:
        groups.append({"params": lora, "lr": config.lora_learning_rate})
    decay = config.weight_decay
    optimizers = (
        Muon(hidden, config.matrix_learning_rate, decay),
        torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=decay, fused=True),
    )
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def _rate(step: int, config: PretrainingConfig) -> float:
    """Share of the learning rate in a step."""
    share = min(1.0, step / max(config.steps, 1))
    cosine = _LEAST_RATE + (1.0 - _LEAST_RATE) * 0.5 * (1.0 + math.cos(math.pi * share))
    return min(1.0, (step + 1) / max(config.warmup, 1)) * cosine


def _means(found: Mapping[str, Mapping[str, float]], names: Sequence[str]) -> dict[str, float]:
    """The mean of every term over scenes, and of their sum, the loss; the same whatever rank found them."""
    terms = {term: sum(found[name][term] for name in names) / len(names) for term in found[names[0]]}
    return {"loss": sum(terms.values()), **terms}


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names start so, without that start."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
