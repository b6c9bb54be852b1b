"""Parts of a long computation on disk: each is there as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from bt_framework.data._workspace import storage_errors


class Chunks:
    """Arrays by number in one folder, which is named after the content of what they are computed from.

    Parameters
    ----------
    folder : Path
        Made when the first one is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, number: int, rows: int, dtype: np.dtype) -> np.ndarray | None:
        """Return the array, or None if it is not there in this shape: damaged ones are computed again."""
        try:
            array: np.ndarray = np.load(self._path(number), allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array if array.shape == (rows,) and array.dtype == dtype else None

    def put(self, number: int, array: np.ndarray) -> None:
        """Keep `array`.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        with storage_errors(self.folder, "keeping a part"):
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    np.save(file, array, allow_pickle=False)
                os.replace(name, self._path(number))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def remove(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.npy"
