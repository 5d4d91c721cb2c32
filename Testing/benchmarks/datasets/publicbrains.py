"""Brains that many papers compare on: OASIS as neurite hands it out, and LPBA40.

OASIS (https://github.com/adalca/medical-datasets, neurite-oasis; Marcus et al. 2007, Hoopes et al. 2022): a folder
`OASIS_OAS1_0001_MR1` for each of 414 subjects, with `aligned_norm.nii.gz` and `aligned_seg35.nii.gz` (160x192x224, in
one affine frame) and `norm.nii.gz` and `seg35.nii.gz` (256^3, each as it was scanned), and `seg35_labels.txt`.

LPBA40 (https://www.loni.usc.edu/research/atlases; Shattuck et al. 2008): `S01/S01.delineation.skullstripped` and
`S01.delineation.structure.label`, as Analyze (.hdr/.img, also .img.gz) or NIfTI, 40 subjects, 56 structures.
"""

from __future__ import annotations

import re
from itertools import pairwise, permutations
from pathlib import Path

import numpy as np
from deepregister.errors import FileError

from .pair import BenchmarkPair, folder_of

OASIS_SUBJECTS = "OASIS_OAS1_*_MR1"
# The last subjects by name, each with the next one: what Learn2Reg's third task is validated on.
OASIS_EVALUATED = 20
LPBA40_IMAGE, LPBA40_LABELS = "delineation.skullstripped", "delineation.structure.label"
# What is read, of several files of one image, in this order; of Analyze the header is named.
IMAGE_ENDINGS = (".nii.gz", ".nii", ".hdr")


def oasis(data: Path, count: int | None = None, aligned: bool = True) -> list[BenchmarkPair]:
    """19 pairs of neighbours among the last 20 subjects, 35 structures; held out.

    Args:
        data: holds `neurite-oasis.v1.0`, or is that folder.
        count: at most so many, the first ones.
        aligned: affinely aligned by those who published them, or as they were scanned.
    """
    what = "OASIS in neurite's layout (https://github.com/adalca/medical-datasets)"
    folder = folder_of(data, ("neurite-oasis.v1.0", "neurite-oasis", "oasis", "OASIS"), OASIS_SUBJECTS, what)
    subjects = sorted(folder.glob(OASIS_SUBJECTS))[-OASIS_EVALUATED:]
    image, labels = (("aligned_" if aligned else "") + name for name in ("norm.nii.gz", "seg35.nii.gz"))
    names = _colour_table(folder / "seg35_labels.txt")
    pairs = []
    for fixed, moving in list(pairwise(subjects))[:count]:
        for missing in (side / name for side in (fixed, moving) for name in (image, labels)):
            if not missing.is_file():
                raise FileError(f"{missing} is missing. Unpack the data set whole.")
        shown = "<-".join(side.name.split("_")[2] for side in (fixed, moving))
        files = (fixed / image, moving / image, fixed / labels, moving / labels)
        pairs.append(BenchmarkPair(f"OASIS {shown}", *files, held_out=True, label_names=names))
    return pairs


def lpba40(data: Path, count: int | None = None, atlas: bool = False) -> list[BenchmarkPair]:
    """Pairs of LPBA40's subjects in their delineation space, 56 structures; held out.

    Args:
        data: holds `LPBA40`, or is that folder; the subjects may lie deeper in it.
        count: so many; None takes 40 random pairs.
        atlas: S02 to S10 onto S01, as many papers have it, instead of random pairs.
    """
    what = "LPBA40 (https://www.loni.usc.edu/research/atlases)"
    folder = folder_of(data, ("LPBA40", "lpba40"), f"**/S01.{LPBA40_IMAGE}.*", what)
    subjects = [f"S{number:02d}" for number in range(1, 41)]
    if atlas:
        chosen = [("S01", other) for other in subjects[1:10]][:count]
    else:
        every = list(permutations(subjects, 2))
        numbers = np.random.default_rng(2008).choice(len(every), count or 40, replace=False)
        chosen = [every[number] for number in numbers]
    return [
        BenchmarkPair(
            f"LPBA40 {fixed}<-{moving}",
            *(_one(folder, f"{name}.{LPBA40_IMAGE}") for name in (fixed, moving)),
            *(_one(folder, f"{name}.{LPBA40_LABELS}") for name in (fixed, moving)),
            held_out=True,
        )
        for fixed, moving in chosen
    ]


def _one(folder: Path, stem: str) -> Path:
    """The file of this name, wherever under the folder, in the first of the formats that it is there in."""
    for ending in IMAGE_ENDINGS:
        found = sorted(folder.rglob(stem + ending))
        if found:
            return found[0]
    raise FileError(f"{stem} with one of the endings {', '.join(IMAGE_ENDINGS)} is nowhere in {folder}.")


def _colour_table(path: Path) -> dict[int, str]:
    """Names by label of a table `number name red green blue alpha`, as FreeSurfer writes it; empty without a file."""
    if not path.is_file():
        return {}
    rows = re.findall(r"^\s*(\d+)\s+(\S+)", path.read_text(encoding="utf-8"), flags=re.M)
    return {int(number): name for number, name in rows if int(number) != 0}


DATASETS = {
    "oasis": oasis,
    "oasis-native": lambda data, count=None: oasis(data, count, aligned=False),
    "lpba40": lpba40,
    "lpba40-atlas": lambda data, count=None: lpba40(data, count, atlas=True),
}
