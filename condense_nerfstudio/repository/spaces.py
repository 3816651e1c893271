"""Which scenes can be compared: those whose vectors the same network made, at the same revision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from condense_nerfstudio.errors import UserError
from condense_nerfstudio.keypoints.condensed_scene import DetectorCard, NetworkCard, TeacherCard
from condense_nerfstudio.repository.log import Entry
from condense_nerfstudio.repository.store import Store

Card = TypeVar("Card", bound=NetworkCard)


@dataclass(frozen=True)
class Space(Generic[Card]):
    """One network's vectors, and the scenes that have them."""

    card: Card
    entries: tuple[Entry, ...]
    left_out: tuple[str, ...]
    """Ids of the scenes that have other vectors only: they cannot be searched with these."""


def teacher_spaces(store: Store, role: Literal["visual", "language"], teacher: str | None) -> list[Space[TeacherCard]]:
    """The spaces of one teacher, those with the most scenes first; they differ in the teacher's revision.

    Args:
        store: the repository.
        role: whether text can be compared with the features.
        teacher: its name; None where all scenes have the same one.

    Raises:
        UserError: the repository is empty, has no such teacher, or has several and none was named.
    """
    found = _spaces(store, lambda entry: (card for card in entry.networks[1] if card.role == role))
    names = sorted({space.card.name for space in found})
    if not names:
        raise UserError(f"No scene of {store.uri} has {role} features: condense them with a {role} teacher.")
    if teacher is None and len(names) > 1:
        raise UserError(f"The scenes of {store.uri} have {role} features of {_listed(names)}: choose with --teacher.")
    chosen = names[0] if teacher is None else teacher
    if chosen not in names:
        raise UserError(f"No scene of {store.uri} has {role} features of {chosen}: choose {_listed(names)}.")
    return [space for space in found if space.card.name == chosen]


def detector_spaces(store: Store) -> list[Space[DetectorCard]]:
    """The spaces of local descriptors, those with the most scenes first.

    Raises:
        UserError: the repository is empty.
    """
    return _spaces(store, lambda entry: (entry.networks[0],))


def _spaces(store: Store, cards_of: Callable[[Entry], Iterable[Card]]) -> list[Space[Card]]:
    """The scenes by network, those with the most scenes first."""
    entries = store.entries()
    if not entries:
        raise UserError(f"Repository {store.uri} is empty: add scenes with condense repo add.")
    cards: dict[tuple[str, str, int], Card] = {}
    members: dict[tuple[str, str, int], list[Entry]] = {}
    for entry in entries.values():
        for card in cards_of(entry):
            key = (card.name, card.revision, card.dim)
            cards[key] = card
            members.setdefault(key, []).append(entry)
    found = [
        Space(card, tuple(members[key]), tuple(sorted(set(entries) - {entry.id for entry in members[key]})))
        for key, card in cards.items()
    ]
    return sorted(found, key=lambda space: -len(space.entries))


def _listed(names: Sequence[str]) -> str:
    return " and ".join(names)
