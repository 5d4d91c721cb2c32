"""Folders of results that are filled in one step, and what a process that was killed meanwhile has left in them.

Files are written into a folder aside. Once they are all there, its new name says so: from then on the new files count,
and whoever looks into the folder next moves in what a killed process did not. Before that, the old files count.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path

from .errors import FileError
from .writing import UNFINISHED, folder_aside, hold, release, remove_leftovers

COMPLETE = ".complete-"
# In a complete folder: names of earlier files that the new result does not have.
OBSOLETE = ".obsolete.json"


class filling:
    """Context manager: a temporary folder whose files move into `folder` together when the block succeeds.

    A failure leaves `folder` as it was: what it held stays, and it is not made.

    Args:
        folder: made if missing.
        own: names that belong to such a result: those of them that the block does not write are removed from `folder`,
            for they are an earlier result's.

    Raises:
        FileError: the folder cannot be made or written.
    """

    def __init__(self, folder: str | os.PathLike, own: Collection[str] = ()):
        self.folder = Path(folder)
        self._own = own

    def __enter__(self) -> Path:
        check_writable(self.folder)
        self._made = [path for path in (self.folder, *self.folder.parents) if not path.exists()]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            settle(self.folder)
            self.aside, self._hold = folder_aside(self.folder)
        except OSError as error:
            raise FileError(f"Cannot write into {self.folder}: {error.strerror}. Choose another folder.") from error
        return self.aside

    def __exit__(self, kind, error, trace) -> None:
        try:
            if error is None:
                self._finish()
                return
        except OSError as reason:
            error = reason
        finally:
            shutil.rmtree(self.aside, ignore_errors=True)
            release(self._hold)
        for path in self._made:
            with contextlib.suppress(OSError):
                path.rmdir()
        if isinstance(error, FileError) and str(self.aside) in str(error):
            # The user knows nothing of the folder aside.
            raise FileError(str(error).replace(str(self.aside), str(self.folder))) from error
        if isinstance(error, OSError):
            raise FileError(
                f"Cannot write into {self.folder}: {error.strerror or error}. Check that the disk is not full and that "
                "the folder can be written."
            ) from error

    def _finish(self) -> None:
        written = {path.name for path in self.aside.iterdir()}
        for name in written:
            if (self.folder / name).is_dir():
                raise IsADirectoryError(errno.EISDIR, f"{name} is a folder there")
        (self.aside / OBSOLETE).write_text(json.dumps(sorted(set(self._own) - written)), encoding="utf-8")
        complete = self.folder / self.aside.name.replace(UNFINISHED, COMPLETE)
        # From here on the new files count: what stops this process, or a file that another program has open, leaves
        # their folder to whoever looks next.
        self.aside.rename(complete)
        _move_in(complete)


def settle(folder: str | os.PathLike) -> None:
    """Move in the files of a result that a killed process had written but not yet moved, and remove unfinished ones.

    Raises:
        FileError: there are such files, and they cannot be moved.
    """
    remove_leftovers(Path(folder))
    for complete in sorted(Path(folder).glob(f"{COMPLETE}*")):
        try:
            # Whoever is just moving them has done so once the folder can be held.
            held = hold(complete, wait=True)
            try:
                _move_in(complete)
            finally:
                release(held)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise FileError(
                f"{folder} holds a result that was not moved into place to the end, and this cannot be done now: "
                f"{error.strerror or error}. Make the folder writable, close programs that use its files, and try "
                "again."
            ) from error


def _move_in(complete: Path) -> None:
    names = complete / OBSOLETE
    for name in json.loads(names.read_text(encoding="utf-8")):
        (complete.parent / name).unlink(missing_ok=True)
    # result.json comes last: where it stands, all the others do.
    for path in sorted(complete.iterdir(), key=lambda path: (path.name == "result.json", path.name)):
        if path != names:
            path.replace(complete.parent / path.name)
    shutil.rmtree(complete, ignore_errors=True)


def check_writable(folder: str | os.PathLike) -> None:
    """Raise `FileError` now rather than after the computation if `folder` cannot be made or written."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileError(f"{folder} is a file; the output must be a folder. Choose another name.")
    existing = folder
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise FileError(f"{existing} is a file, so the folder {folder} cannot be made. Choose another name.")
    try:
        probe, held = folder_aside(existing)
        probe.rmdir()
        release(held)
    except OSError as error:
        raise FileError(
            f"Cannot write into {existing}: {error.strerror}. Choose a folder that you may write to."
        ) from error
