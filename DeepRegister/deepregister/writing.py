"""`replacing`: a file is written aside and takes its name only when it is whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from .errors import FileError


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
            self.aside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
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
        if isinstance(error, (RuntimeError, OSError)):
            reason = itk_reason(error).replace(str(self.aside), str(self.path.parent))
            raise FileError(
                f"Cannot write {self.path}: {reason}. Check that the folder can be written, that the disk is not full "
                "and that the file's ending names a known format (for images .nii.gz, .nrrd or .mha; for transforms "
                ".h5, .tfm, .nii.gz or .nrrd)."
            ) from error


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
