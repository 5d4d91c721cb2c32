"""`replacing`: a file is written aside and takes its name only when it is whole.

Aside is a folder that its process holds locked, so that the next one can tell what a killed process has left behind.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from pathlib import Path

from .errors import FileError

try:
    import fcntl
except ImportError:
    fcntl = None  # Windows

UNFINISHED = ".unfinished-"


class replacing:
    """Context manager: a name in a folder aside; what is written there moves beside `path` if the block succeeds.

    A failure leaves nothing behind, and a file that was there before as it was.

    Raises:
        FileError: the folder is missing or cannot be written, or the block failed with an I/O or an ITK error.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)

    def __enter__(self) -> Path:
        folder = self.path.parent
        if not folder.is_dir():
            raise FileError(f"The folder {folder} does not exist. Create it or choose another.")
        if self.path.is_dir():
            raise FileError(f"{self.path} is a folder, so no file can have this name. Choose another name.")
        try:
            remove_leftovers(folder)
            self.aside, self._hold = folder_aside(folder)
        except OSError as error:
            raise FileError(
                f"Cannot write into {folder}: {error.strerror}. Choose a folder that you may write to."
            ) from error
        # The name itself is kept: ITK chooses the format by its ending, and headers (.mhd, .nhdr) name their data file.
        return self.aside / self.path.name

    def __exit__(self, kind, error, trace) -> None:
        try:
            if error is None:
                # The named file comes last: it must not stand there before the data file that it points to.
                for written in sorted(self.aside.iterdir(), key=lambda file: file.name == self.path.name):
                    written.replace(self.path.with_name(written.name))
                return
        except OSError as reason:
            error = reason
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)
            release(self._hold)
        if isinstance(error, (RuntimeError, OSError)):
            reason = itk_reason(error).replace(str(self.aside), str(self.path.parent))
            raise FileError(
                f"Cannot write {self.path}: {reason}. Check that the folder can be written, that the disk is not full "
                "and that the file's ending names a known format (for images .nii.gz, .nrrd or .mha; for transforms "
                ".h5, .tfm, .nii.gz or .nrrd)."
            ) from error


def folder_aside(folder: Path) -> tuple[Path, int | None]:
    """A new folder in `folder` for what is not finished yet, and this process's hold on it."""
    aside = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=folder))
    return aside, hold(aside)


def remove_leftovers(folder: Path) -> None:
    """Remove what processes that are no more have left unfinished in `folder`."""
    for leftover in folder.glob(f"{UNFINISHED}*"):
        # Gone already, where another process does the same.
        with contextlib.suppress(OSError):
            found = hold(leftover)
            if found is not None:
                shutil.rmtree(leftover, ignore_errors=True)
                release(found)


def hold(folder: Path, wait: bool = False) -> int | None:
    """Lock a folder for this process; the lock ends with the process, however that ends.

    Args:
        folder: the folder.
        wait: until no other process holds it.

    Returns:
        What `release` takes; None if another process holds it, or where folders cannot be locked (on Windows and some
        network disks).

    Raises:
        OSError: it is not there.
    """
    if fcntl is None:
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        os.close(handle)
        return None
    return handle


def release(held: int | None) -> None:
    """Give up what `hold` returned."""
    if held is not None:
        os.close(held)


def require_room(folder: Path, count: int) -> None:
    """Raise `OSError` unless a file of `count` bytes fits into `folder`.

    For libraries that go wrong where it does not: HDF5 keeps what it could not write open, and ends the process by a
    crash when that exits.
    """
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, count)
            return
        block = bytes(1 << 20)
        for start in range(0, count, len(block)):
            if file.write(block[: count - start]) < min(len(block), count - start):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def itk_reason(error: BaseException) -> str:
    """The one line of an ITK or operating system error that says what happened."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    # ITK has a line with the source file, then "ITK ERROR: Class(0x1234): what happened", then lists and guesses.
    for number, line in enumerate(lines):
        if "ERROR: " in line:
            told = line.split("ERROR: ", 1)[1].split("): ", 1)[-1]
            if told.endswith(":") and number + 1 < len(lines):
                told = f"{told} {lines[-1]}"
            return told.rstrip(".")
    return lines[-1].rstrip(".")
