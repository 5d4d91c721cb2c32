"""What label values mean: which tissues look alike, what the brain is, what is scored, what mirrors what.

Heads in FreeSurfer's numbering (Fischl, NeuroImage 2012), as SynthSeg's training maps have it (Billot et al., Med.
Image Anal. 2023), are known; of other label maps each label is a tissue of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InputError

# (labels on the left, in the middle or on both sides; those on the right), kind of tissue, T1-weighted intensity where
# the brightest tissue has 1, and whether its overlap is scored.
HEAD = (
    ((2, 41), "white", 0.88, True),
    ((7, 46), "white", 0.8, True),
    ((16,), "white", 0.74, True),
    ((28, 60), "white", 0.78, True),
    ((25, 57), "white", 0.65, False),
    ((85,), "white", 0.75, False),
    ((530,), "white", 0.65, False),
    ((512,), "white", 0.65, False),
    ((3, 42), "grey", 0.56, True),
    ((8, 47), "grey", 0.57, True),
    ((10, 49), "grey", 0.72, True),
    ((11, 50), "grey", 0.59, True),
    ((12, 51), "grey", 0.67, True),
    ((13, 52), "grey", 0.78, True),
    ((17, 53), "grey", 0.57, True),
    ((18, 54), "grey", 0.56, True),
    ((26, 58), "grey", 0.6, True),
    ((4, 43), "fluid", 0.2, True),
    ((5, 44), "fluid", 0.25, True),
    ((14,), "fluid", 0.25, True),
    ((15,), "fluid", 0.25, True),
    ((24,), "fluid", 0.2, False),
    ((72,), "fluid", 0.2, False),
    ((506,), "fluid", 0.2, False),
    ((514,), "fluid", 0.3, False),
    ((30, 62), "vessel", 0.6, False),
    ((136, 137), "plexus", 0.45, False),
    ((163, 164), "plexus", 0.45, False),
    ((502,), "air and lining", 0.25, False),
    ((509,), "air and lining", 0.3, False),
    ((507,), "muscle", 0.5, False),
    ((508,), "muscle", 0.5, False),
    ((511,), "fat", 0.95, False),
    ((515,), "bone", 0.12, False),
    ((516,), "marrow", 0.7, False),
)
# Labels that no map of something else has: where all of them are there, it is a head.
SIGNS_OF_A_HEAD = {2, 3, 41, 42, 10, 49, 16}
FIRST_OUTSIDE_THE_BRAIN = 500
FLUID_AROUND_THE_BRAIN = 24


@dataclass(frozen=True)
class Anatomy:
    """Of the places 0..L of labels; place 0 is what has no label.

    Attributes:
        tissue: for each place, the number of its tissue; both sides of the body share one.
        kind: for each tissue, the number of its kind: grey matter, fluid.
        t1: for each tissue, its T1-weighted intensity; None where it is not known.
        content: for each place, whether there is something: all but place 0, where that is background.
        kept: for each place, whether skull-stripping leaves it.
        doubtful: places that skull-stripping leaves or not.
        structures: places whose overlap is scored.
        mirror: for each place, the one on the other side; None where that is not known.
    """

    tissue: tuple[int, ...]
    kind: tuple[int, ...]
    t1: tuple[float, ...] | None
    content: tuple[bool, ...]
    kept: tuple[bool, ...]
    doubtful: tuple[int, ...]
    structures: tuple[int, ...]
    mirror: tuple[int, ...] | None

    @property
    def strips(self) -> bool:
        """Whether skull-stripping takes anything away."""
        return self.kept != self.content

    @classmethod
    def of(cls, labels: Sequence[int], structures: Sequence[int] = (), kept: Sequence[int] = ()) -> Anatomy:
        """Of the label at each place from 1 on.

        Args:
            labels: values in the label maps.
            structures, kept: those that are scored, and that skull-stripping leaves; empty for what is known.

        Raises:
            InputError: one of these is in no label map.
        """
        absent = sorted({*structures, *kept} - set(labels))
        if absent:
            raise InputError(
                f"No label map holds the label {absent[0]} of synthesis.structures or synthesis.kept. "
                f"They hold {', '.join(map(str, labels))}."
            )
        place = {label: number for number, label in enumerate(labels, 1)}
        head = set(labels) >= SIGNS_OF_A_HEAD
        known = {label: row for row in HEAD for label in row[0]} if head else {}
        scored = structures or [label for label in labels if not head or (label in known and known[label][3])]
        left = kept or [label for label in labels if not head or label < FIRST_OUTSIDE_THE_BRAIN]
        groups = list(dict.fromkeys(known[label][0] if label in known else (label,) for label in labels))
        kinds = {group: known[group[0]][1] if group[0] in known else str(group[0]) for group in groups}
        order = list(dict.fromkeys(kinds.values()))
        other = {a: b for row in known.values() for a, b in zip(row[0], row[0][::-1], strict=True)}
        doubtful = [FLUID_AROUND_THE_BRAIN] if head and not kept else []
        return cls(
            tissue=(0, *(1 + next(n for n, group in enumerate(groups) if label in group) for label in labels)),
            kind=(0, *(1 + order.index(kinds[group]) for group in groups)),
            t1=(0.0, *(known[g[0]][2] if g[0] in known else 0.5 for g in groups)) if head else None,
            content=(False, *(True for _ in labels)),
            kept=(False, *(label in left for label in labels)),
            doubtful=tuple(place[label] for label in doubtful if label in place),
            structures=tuple(place[label] for label in scored),
            mirror=(0, *(place.get(other.get(label, label), place[label]) for label in labels)) if head else None,
        )

    def channels(self, chosen: Sequence[int]) -> np.ndarray:
        """For each place, the channel of its structure; as many as there are channels where it has none."""
        found = np.full(len(self.tissue), len(chosen), np.int64)
        found[list(chosen)] = np.arange(len(chosen))
        return found
