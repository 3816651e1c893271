"""The embedding's own training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from condense_nerfstudio.backbone.embedding_fit import fit_embedding
from condense_nerfstudio.backbone.joint import JointModel
from condense_nerfstudio.backbone.octree import to_nodes
from condense_nerfstudio.backbone.scenes import Scene
from condense_nerfstudio.teachers.cache import read_rgb

from .rooms import model, scene


def marked(number: int) -> Scene:
    """A room of random colours whose photographs show one direction of the first teacher's features."""
    room = scene(number)
    direction = np.zeros(6, dtype=np.float16)
    direction[number % 6] = 3.0
    maps = {name: [m.copy() for m in values] for name, values in room.maps.items()}
    for one in maps["first"]:
        one[:] = direction
    return replace(room, maps=maps)


def found(network: JointModel, scenes: list[Scene]) -> float:
    """Share of held-out photographs whose scene is the nearest."""
    right = []
    with torch.no_grad():
        table = torch.stack([network.scene_embedding(network(to_nodes(one.volume))) for one in scenes])
        for number, one in enumerate(scenes):
            for image in one.views.indices(held_out=True):
                maps = {name: torch.from_numpy(one.maps[name][image].astype(np.float32)) for name in one.maps}
                photograph = network.image_embedding(read_rgb(one.views.images[image]), maps)
                right.append(int((table @ photograph).argmax()) == number)
    return float(np.mean(right))


def test_photographs_learn_to_find_their_scene_by_features() -> None:
    network, scenes = model(), [marked(i) for i in range(3)]
    fit_embedding(network, scenes, seed=0, steps=50)  # eight words learn more slowly than 512
    assert found(network, scenes) == 1.0


def test_the_same_seed_gives_the_same_embedding_and_touches_nothing_else() -> None:
    scenes = [marked(i) for i in range(2)]
    states = []
    for _ in range(2):
        network = model()
        before = {name: value.clone() for name, value in network.state_dict().items()}
        shares: list[float] = []
        fit_embedding(network, scenes, 1, shares.append)
        after = network.state_dict()
        assert shares[-1] == 1.0 and shares == sorted(shares)
        assert all(torch.equal(after[n], v) for n, v in before.items() if not n.startswith("embedding."))
        assert not torch.equal(after["embedding.words.weight"], before["embedding.words.weight"])
        states.append(after)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_one_scene_alone_leaves_the_embedding_as_it_starts() -> None:
    network = model()
    start = {name: value.clone() for name, value in network.embedding.state_dict().items()}
    network.embedding.words.weight.data.add_(1.0)
    fit_embedding(network, [scene()], seed=0)
    assert all(torch.equal(value, start[name]) for name, value in network.embedding.state_dict().items())
