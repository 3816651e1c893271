"""Cross-scene training on made-up rooms: what its losses do, and that it is the same however it is cut up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from condense_nerfstudio.backbone.embedding import Embedding
from condense_nerfstudio.backbone.joint_step import lifted_features, scene_losses
from condense_nerfstudio.backbone.lifting import cells_to_nodes, lift
from condense_nerfstudio.backbone.marching import March, march
from condense_nerfstudio.backbone.octree import to_nodes
from condense_nerfstudio.backbone.pretraining import Pretraining
from condense_nerfstudio.backbone.scenes import Scene, look
from condense_nerfstudio.backbone.settings import PretrainingConfig
from condense_nerfstudio.errors import UserError

from .rooms import RESOLUTION, STEP, TEACHERS, TRAINING, model, scene


def trained(state: Path, config: PretrainingConfig = TRAINING, scenes: list[Scene] | None = None) -> Pretraining:
    return Pretraining(model(), scenes or [scene(0), scene(1), scene(2)], config, state)


def test_rays_meet_the_walls_of_a_room() -> None:
    room = scene()
    looked = look(room, room.volume.dense_thickness(), [0], [torch.tensor([[16.0, 12.0], [4.0, 3.0]])], "cpu")
    # The first camera looks along x from the middle; the wall is 29 to 30 cells away.
    assert looked.surface.points[0, 0].item() == pytest.approx(RESOLUTION / 2 + 29.5, abs=0.5)
    assert len(looked.targets[0].pixels) == 2 and looked.targets[0].rays == slice(0, 2)


def test_rendering_a_volume_of_one_value_gives_that_value() -> None:
    network, room = model(), scene()
    volume = network(to_nodes(room.volume))
    volume.values.data.fill_(0.25)
    looked = look(room, room.volume.dense_thickness(), [1], [torch.rand(50, 2) * 20], "cpu")
    rendered = network.render(volume, looked.marched)
    torch.testing.assert_close(rendered.keypoint, torch.full((50,), 0.25), atol=1e-3, rtol=0)
    expected = network.head("first").decoder(torch.full((4,), 0.25))
    torch.testing.assert_close(rendered.features["first"], expected.expand(50, -1), atol=1e-2, rtol=0)


def test_lifting_is_rendering_transposed() -> None:
    room = scene()
    nodes, thickness, camera = to_nodes(room.volume), room.volume.dense_thickness(), room.views.cameras[:1]
    indices, weights = cells_to_nodes(room.volume, thickness, nodes, camera, (6, 8))
    torch.manual_seed(0)
    values, cells = torch.randn(len(nodes.inputs), 3), torch.randn(6, 8, 3)
    rendered = (weights[..., None] * values[indices]).sum(dim=1)
    lifted = lift(room.volume, thickness, nodes, [camera], [cells])
    seen = lifted[:, -1:].expm1()
    left, right = (rendered * cells.flatten(0, 1)).sum(), (values * lifted[:, :-1] * seen.clamp(min=1e-3)).sum()
    torch.testing.assert_close(left, right, atol=1e-2, rtol=1e-3)
    assert 0 < int((seen > 0).sum()) < len(seen)


def test_what_a_photograph_shows_is_lifted_to_where_it_is() -> None:
    room = scene()
    nodes, thickness = to_nodes(room.volume), room.volume.dense_thickness()
    lifted = lift(room.volume, thickness, nodes, [room.views.cameras[:1]], [torch.ones(6, 8, 2)])
    x, _, _, _ = nodes.octree.xyzb(nodes.depth, nempty=True)
    seen = lifted[:, -1] > 0.1
    assert seen.any() and (x[seen] > RESOLUTION // 4).all()  # in front of the camera
    torch.testing.assert_close(lifted[seen, :2], torch.ones(int(seen.sum()), 2), atol=1e-2, rtol=0)


def test_the_same_seed_gives_the_same_losses_and_both_branches_learn() -> None:
    network, room, others = model(), scene(), torch.nn.functional.normalize(torch.randn(3, 8), dim=1)
    found = [scene_losses(network, room, others, STEP, (0, 1, 2)) for _ in range(2)]
    assert {name: value.item() for name, value in found[0].losses.items()} == {
        name: value.item() for name, value in found[1].losses.items()
    }
    assert set(found[0].losses) >= {"first_consistency", "second_contrast", "keypoints_3d", "scene_contrast"}
    torch.stack(list(found[0].losses.values())).sum().backward()
    for part in (network.backbone.output, network.head("first").adapter.up, network.embedding, network.map_head):
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_half_the_precision_gives_nearly_the_same_losses_and_gradients() -> None:
    # What CUDA does, on a CPU.
    answers = []
    for mixed in (False, True):
        network = model()
        network.mixed_precision = mixed
        losses = scene_losses(network, scene(), torch.zeros(0, 8), replace(STEP, lifted_share=1.0), (0, 0, 0)).losses
        total = torch.stack(list(losses.values())).sum()
        total.backward()
        gradient = next(network.backbone.stem.parameters()).grad
        assert gradient is not None and gradient.isfinite().all()
        answers.append((total.item(), gradient))
    (exact, gradient), (rough, also) = answers
    assert rough == pytest.approx(exact, rel=0.02)
    assert torch.nn.functional.cosine_similarity(gradient.flatten(), also.flatten(), dim=0) > 0.9


def test_without_a_2d_branch_the_adapters_get_no_gradient() -> None:
    network = model()
    config = replace(STEP, train_2d=False)
    losses = scene_losses(network, scene(), torch.zeros(0, 8), config, (0,)).losses
    torch.stack(list(losses.values())).sum().backward()
    grads = [p.grad for name in TEACHERS for p in network.head(name).adapter.parameters()]
    assert all(grad is None or grad.abs().sum() == 0 for grad in grads)


def test_lifted_features_change_the_answer_and_are_trained() -> None:
    network, room = model(), scene()
    nodes, thickness = to_nodes(room.volume), room.volume.dense_thickness()
    plain = network(nodes).values
    lifted = network(nodes, lifted_features(network, room, thickness, nodes, [0, 1])).values
    assert not torch.allclose(plain, lifted)
    lifted.sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.lifts.parameters())


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    losses: list[float] = []
    config = replace(TRAINING, steps=40, step=replace(STEP, lifted_share=0.0), learning_rate=5e-3)
    trained(tmp_path / "state", config).run(lambda step, terms: losses.append(terms["loss"]))
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_a_resumed_training_is_the_same_training(tmp_path: Path) -> None:
    whole, parts = [], []
    first = trained(tmp_path / "whole")
    first.run(lambda step, terms: whole.append((step, terms["loss"])))

    class KilledError(Exception):
        pass

    def killed(step: int, terms: Mapping[str, float]) -> None:
        parts.append((step, terms["loss"]))
        if step == 3:
            raise KilledError

    with pytest.raises(KilledError):
        trained(tmp_path / "parts").run(killed)
    second = trained(tmp_path / "parts")
    assert second.step == 2  # the last that was saved
    second.run(lambda step, terms: parts.append((step, terms["loss"])))
    assert parts[:3] == whole[:3] and parts[3:] == whole[2:]
    for name, value in first.model.state_dict().items():
        torch.testing.assert_close(value, second.model.state_dict()[name], rtol=0, atol=0)


def test_every_scene_comes_once_before_any_comes_again(tmp_path: Path) -> None:
    training = trained(tmp_path / "state", scenes=[scene(i) for i in range(4)])
    names = [found.name for step in range(2) for found in training._scenes_of(step)]
    assert sorted(names) == [f"room{i}" for i in range(4)]


def test_states_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    trained(state).run(lambda step, terms: None)
    with pytest.raises(UserError, match="belongs to a training on other scenes"):
        trained(state, scenes=[scene(0)])
    tensors = load_file(state)
    save_file({name: value for name, value in tensors.items() if "stem" not in name}, state, {"step": "6"})
    with pytest.raises(UserError, match=r"cannot be resumed .*: delete it to start anew"):
        trained(state)
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(UserError, match="cannot be resumed"):
        trained(state)


def test_a_loss_that_is_no_number_ends_with_a_sentence(tmp_path: Path) -> None:
    training = trained(tmp_path / "state", scenes=[scene()])
    torch.nn.init.constant_(training.model.keypoints.bias, torch.nan)
    with pytest.raises(UserError, match=r"The loss is not a number in step 0 \(room0\)"):
        training.run(lambda step, terms: None)


def test_marches_of_different_lengths_are_joined() -> None:
    room = scene()
    pixels = [torch.tensor([[16.0, 12.0]]), torch.tensor([[1.0, 1.0], [30.0, 20.0]])]
    both = look(room, room.volume.dense_thickness(), [0, 1], pixels, "cpu").marched
    assert isinstance(both, March) and both.weights.shape[0] == 3
    alone = march(room.volume.dense_thickness(), torch.full((1, 3), 32.0), torch.tensor([[1.0, 0.0, 0.0]]))
    assert both.weights[0].sum().item() == pytest.approx(alone.weights.sum().item(), abs=0.01)


def test_an_untrained_embedding_knows_a_scene_by_its_colours() -> None:
    torch.manual_seed(0)
    embedding = Embedding(4, 8)
    red, blue = torch.rand(300, 3) * torch.tensor([1.0, 0.1, 0.1]), torch.rand(300, 3) * torch.tensor([0.1, 0.1, 1.0])
    features = torch.randn(300, 4)
    table = torch.stack([embedding(red, features), embedding(blue, features)])
    torch.testing.assert_close(table.norm(dim=1), torch.ones(2))
    photograph = embedding(red[::7], features[::7])
    assert (table @ photograph).argmax() == 0 and embedding.dim == 512
    # A word ends where the next begins: halfway between two, both have a half.
    middle = torch.tensor([[0.125, 0.0625, 0.0625]])
    shares = embedding(middle, torch.zeros(1, 4)).square().sort(descending=True).values
    torch.testing.assert_close(shares[0], shares[1])


def test_the_contrast_is_small_where_photographs_find_their_scene() -> None:
    embedding, rows = Embedding(4, 2), torch.eye(8)
    right = embedding.contrast(rows[:1], rows[0], rows[1:4])
    wrong = embedding.contrast(rows[1:2], rows[0], rows[1:4])
    assert right < 0.01 < 5 < wrong


def test_colours_of_nodes_are_the_mean_of_their_cells() -> None:
    volume = scene().volume
    nodes = to_nodes(volume)
    x, y, z, _ = nodes.octree.xyzb(nodes.depth, nempty=True)
    place = torch.stack([x, y, z], dim=1)[7]
    own = (volume.cells.long() // 2 == place).all(dim=1)
    torch.testing.assert_close(nodes.colors()[7], (volume.colors[own].float() / 255).mean(dim=0), atol=1e-5, rtol=0)
