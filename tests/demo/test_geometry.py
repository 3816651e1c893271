"""Meshes: closed, facing outward, with texture coordinates in metres."""

from __future__ import annotations

import numpy as np
import pytest

from condense_nerfstudio.demo import geometry
from condense_nerfstudio.demo.catalogue import SOLIDS
from condense_nerfstudio.demo.surfaces import solid_mesh


def volume(mesh: geometry.Mesh) -> float:
    """By the divergence theorem, with the stored normals deciding which way is out."""
    a, b, c = (mesh.vertices[mesh.faces[:, k]] for k in range(3))
    area = np.cross(b - a, c - a) / 2
    outward = np.sign(np.einsum("fc,fc->f", area, mesh.normals[mesh.faces].mean(axis=1)))
    return float((np.einsum("fc,fc->f", (a + b + c) / 3, area) * outward).sum() / 3)


@pytest.mark.parametrize("shape", SOLIDS)
def test_solids_stand_on_the_ground_and_are_closed(shape):
    mesh = solid_mesh(shape, 0.25)
    assert mesh.vertices[:, 2].min() == pytest.approx(0, abs=1e-6)
    assert 0.3 < mesh.vertices[:, 2].max() < 0.7
    moved = mesh.placed(np.eye(3), (1.0, -2.0, 0.5))  # only a closed surface keeps its volume
    assert volume(mesh) > 0.003 and volume(moved) == pytest.approx(volume(mesh), rel=1e-6)


def test_volumes_are_those_of_the_textbook():
    assert volume(geometry.box((1.0, 2.0, 3.0), 0.5)) == pytest.approx(6.0)
    assert volume(solid_mesh("sphere", 0.5)) == pytest.approx(4 / 3 * np.pi * 0.5**3, rel=0.02)


@pytest.mark.parametrize("shape", SOLIDS)
def test_normals_are_unit_vectors(shape):
    np.testing.assert_allclose(np.linalg.norm(solid_mesh(shape, 0.2).normals, axis=-1), 1, atol=1e-9)


def test_a_patch_is_seen_from_its_front_with_u_to_the_right_and_v_down():
    wall = geometry.patch((-1, 0, 2), (2, 0, 0), (0, 0, -2), 0.5)
    np.testing.assert_allclose(wall.normals, np.tile([0.0, -1.0, 0.0], (25, 1)), atol=1e-12)
    np.testing.assert_allclose(wall.uv[[0, 4, 20]], [(0, 0), (2, 0), (0, 2)])
    np.testing.assert_allclose(wall.vertices[[0, 4, 20]], [(-1, 0, 2), (1, 0, 2), (-1, 0, 0)])
