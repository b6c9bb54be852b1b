"""Finished pages on disk, so that a download that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import orjson

from bt_framework.errors import StorageError
from bt_plugins.bars.rest import Rest


class PageCache:
    """Answers of a server under what was asked; a page is there whole, or not at all. It holds no key to the server."""

    def __init__(self, config: Rest) -> None:
        self.folder = _folder(config)
        self._asked = [config.url, config.request_time, str(int(config.interval_ns)), str(config.limit)]

    def get(self, *asked: object) -> Any:
        """The answer, or None."""
        try:
            return orjson.loads(self._file(asked).read_bytes())
        except (OSError, orjson.JSONDecodeError):
            return None

    def put(self, body: bytes, *asked: object) -> None:
        """Keep an answer.

        Raises
        ------
        StorageError
            If the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(body)
                os.replace(name, self._file(asked))
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise StorageError(
                f"pages cannot be kept in {self.folder}: {error.strerror or error}. Free space, make it writable, or"
                " set bars.cache_dir."
            ) from error

    def _file(self, asked: tuple[object, ...]) -> Path:
        text = "\n".join([*self._asked, *map(str, asked)])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:40]}.json"


def _folder(config: Rest) -> Path:
    if config.cache_dir:
        return Path(config.cache_dir).expanduser()
    root = os.environ.get("BT_CACHE_DIR")
    if not root:
        from platformdirs import user_cache_dir

        root = user_cache_dir("bt", appauthor=False)
    return Path(root) / "downloads"
