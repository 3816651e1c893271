"""Which scenes can be compared: those whose features the same network made, at the same revision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import TeacherCard
from condense_nerfstudio.repository.store import Entry, Store


@dataclass(frozen=True)
class Space:
    """One network's features, and the scenes that have them."""

    card: TeacherCard
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    """Ids of the scenes that have other features only: they cannot be searched with these."""


def spaces(store: Store, role: Literal["visual", "language"], teacher: str | None) -> list[Space]:
    """The spaces of one teacher, those with the most scenes first; they differ in the teacher's revision.

    Args:
        store: the repository.
        role: whether text can be compared with the features.
        teacher: its name; None where all scenes have the same one.

    Raises:
        UserError: the repository is empty, has no such teacher, or has several and none was named.
    """
    entries = store.entries()
    if not entries:
        raise UserError(f"Repository {store.uri} is empty: add scenes with condense repo add.")
    cards: dict[tuple[str, str, int], TeacherCard] = {}
    members: dict[tuple[str, str, int], list[Entry]] = {}
    for entry in entries.values():
        for card in entry.networks[1]:
            if card.role == role:
                key = (card.name, card.revision, card.dim)
                cards[key] = card
                members.setdefault(key, []).append(entry)
    names = sorted({name for name, _, _ in cards})
    if not names:
        raise UserError(f"No scene of {store.uri} has {role} features: condense them with a {role} teacher.")
    if teacher is None and len(names) > 1:
        raise UserError(f"The scenes of {store.uri} have {role} features of {_listed(names)}: choose with --teacher.")
    chosen = names[0] if teacher is None else teacher
    if chosen not in names:
        raise UserError(f"No scene of {store.uri} has {role} features of {chosen}: choose {_listed(names)}.")
    found = [
        Space(card, tuple(members[key]), tuple(sorted(set(entries) - {entry.id for entry in members[key]})))
        for key, card in cards.items()
        if card.name == chosen
    ]
    return sorted(found, key=lambda space: -len(space.entries))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
