"""Lungs of DIR-Lab: 4DCT (Castillo et al., Phys. Med. Biol. 2009) and COPDgene (Castillo et al., 2013).

The images are raw little-endian 16-bit numbers without a header, Hounsfield units plus 1024, less where nothing was
scanned; sizes and spacings stand on the data's own page (https://med.emory.edu/departments/radiation-oncology/
research-laboratories/deformable-image-registration). The first slice is the topmost. 300 landmark pairs are voxels of
their image, counted from 1. Nothing in the files says how the patient lay: the end of a row is taken for the left and
the last row for the back, as CT slices are stored.

The files are written once as NIfTI with all that, in Hounsfield units, so that every program reads the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path

import numpy as np
from deepregister import Geometry, Volume
from deepregister.errors import FileError

from .pair import BenchmarkPair, folder_of, voxel_landmarks

CASES = range(1, 11)
# Size along i, j, k and in-plane spacing in mm; slices are 2.5 mm apart everywhere.
FOUR_D_CT = {
    1: ((256, 256, 94), 0.97),
    2: ((256, 256, 112), 1.16),
    3: ((256, 256, 104), 1.15),
    4: ((256, 256, 99), 1.13),
    5: ((256, 256, 106), 1.10),
    6: ((512, 512, 128), 0.97),
    7: ((512, 512, 136), 0.97),
    8: ((512, 512, 128), 0.97),
    9: ((512, 512, 128), 0.97),
    10: ((512, 512, 120), 0.97),
}
COPDGENE = {
    1: ((512, 512, 121), 0.625),
    2: ((512, 512, 102), 0.645),
    3: ((512, 512, 126), 0.652),
    4: ((512, 512, 126), 0.590),
    5: ((512, 512, 131), 0.647),
    6: ((512, 512, 119), 0.633),
    7: ((512, 512, 112), 0.625),
    8: ((512, 512, 115), 0.586),
    9: ((512, 512, 116), 0.664),
    10: ((512, 512, 135), 0.742),
}
SLICES_APART = 2.5
AIR = -1024
KEPT = Path(__file__).resolve().parents[3] / "build" / "dirlab"


@dataclass(frozen=True)
class Collection:
    """One of the two collections.

    Attributes:
        name: in names of pairs and kept files.
        table: size and in-plane spacing by case.
        folders, case_folders: names that it may have under the data folder, and patterns of a case's own folder.
        fixed, moving: patterns of the images' names; the files are not named alike in all cases.
        fixed_points, moving_points: patterns of the landmarks' names.
        source: what it is, for people who look for it.
    """

    name: str
    table: dict[int, tuple[tuple[int, int, int], float]]
    folders: tuple[str, ...]
    case_folders: tuple[str, ...]
    fixed: str
    moving: str
    fixed_points: str
    moving_points: str
    source: str


# Inhale (T00) is fixed and exhale (T50) moving in both, as most papers have it.
FOUR_D = Collection(
    "4DCT",
    FOUR_D_CT,
    ("dirlab-4dct", "DIRLAB/4DCT", "4DCT", "dirlab"),
    ("Case{}Pack", "Case{}Deploy"),
    "case{}_T00*.img",
    "case{}_T50*.img",
    "case{}_*300_T00_xyz.txt",
    "case{}_*300_T50_xyz.txt",
    "the 4DCT cases of DIR-Lab (CaseNPack)",
)
COPD = Collection(
    "COPDgene",
    COPDGENE,
    ("dirlab-copdgene", "DIRLAB/COPDgene", "COPDgene", "copd"),
    ("copd{}",),
    "copd{}_iBHCT.img",
    "copd{}_eBHCT.img",
    "copd{}_300_iBH_xyz_r1.txt",
    "copd{}_300_eBH_xyz_r1.txt",
    "the COPDgene cases of DIR-Lab (copdN)",
)


def cases(collection: Collection, data: Path, count: int | None = None, kept: Path = KEPT) -> list[BenchmarkPair]:
    """Inhale and exhale of each patient, with 300 landmark pairs; held out.

    Args:
        collection: which.
        data: holds a folder for each case, directly or in a folder of the collection.
        count: at most so many, the first ones that are there.
        kept: where the NIfTI files are written and looked for.
    """
    marker = collection.case_folders[0].format("*")
    folder = folder_of(data, collection.folders, marker, collection.source)
    pairs = []
    for case in CASES:
        places = [folder / name.format(case) for name in collection.case_folders]
        place = next((path for path in places if path.is_dir()), None)
        if place is None:
            continue
        if len(pairs) == count:
            break
        sides = [
            _image(collection, case, _find(place, name.format(case)), kept)
            for name in (collection.fixed, collection.moving)
        ]
        points = tuple(_find(place, name.format(case)) for name in (collection.fixed_points, collection.moving_points))
        landmarks = voxel_landmarks({"all": points}, *sides, first=1)
        pairs.append(BenchmarkPair(f"{collection.name} case {case}", *sides, landmarks=landmarks, held_out=True))
    return pairs


def _find(folder: Path, pattern: str) -> Path:
    """The one file of this pattern under the folder, whatever the case of its letters."""
    found = [path for path in folder.rglob("*") if fnmatchcase(path.name.lower(), pattern.lower()) and path.is_file()]
    if len(found) != 1:
        raise FileError(f"{folder} holds {len(found)} files {pattern}, and one is needed. Unpack the case again.")
    return found[0]


def _image(collection: Collection, case: int, raw: Path, kept: Path) -> Path:
    """The raw image as NIfTI, written unless it is there already."""
    size, spacing = collection.table[case]
    values = np.fromfile(raw, dtype="<i2")
    if values.size != np.prod(size):
        raise FileError(
            f"{raw} holds {values.size} numbers, and case {case} of {collection.name} has {'x'.join(map(str, size))} "
            "voxels. Unpack the case again."
        )
    known = sha256(values.tobytes()).hexdigest()[:12]
    path = kept / f"{collection.name}-{case:02d}-{raw.stem}-{known}.nii.gz"
    if not path.is_file():
        kept.mkdir(parents=True, exist_ok=True)
        grid = Geometry(size, (spacing, spacing, SLICES_APART), direction=((1, 0, 0), (0, 1, 0), (0, 0, -1)))
        # What was not scanned is far below air.
        units = np.maximum(values.astype(np.int32) + AIR, AIR).astype(np.int16)
        Volume(units.reshape(grid.shape), grid, raw.name).write(path)
    return path


DATASETS = {
    "dirlab-4dct": lambda data, count=None: cases(FOUR_D, data, count),
    "dirlab-copdgene": lambda data, count=None: cases(COPD, data, count),
}
