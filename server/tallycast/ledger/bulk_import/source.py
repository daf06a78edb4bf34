"""The bytes of an import, from a file or standard input.

Owns reading, the progress, and the digest of what was read. Does not depend on what the bytes mean.
"""

import os
import stat
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tallycast.ledger.bulk_import.errors import ImportFailed

STANDARD_INPUT = Path("-")
BLOCK = 65_536


class Source:
    """The bytes of a file; ``-`` is standard input."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ImportFailed: it cannot be read.
        """
        self._path = path
        self._done = 0
        self._hash = sha256()
        try:
            self._file: Any = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
            status = os.fstat(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from None
        # Some of standard input may have been read before.
        self._start = self._file.tell() if stat.S_ISREG(status.st_mode) else 0
        self._size = status.st_size - self._start if stat.S_ISREG(status.st_mode) else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def share(self) -> float | None:
        """The share that was read, from 0 to 1; ``None`` when the size is unknown."""
        return min(1.0, self._done / self._size) if self._size else None

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return "standard input" if self._path == STANDARD_INPUT else self._path.name

    @property
    def digest(self) -> str:
        """The SHA-256 of what was read so far, in hex digits: as ``sha256sum`` prints it."""
        return self._hash.hexdigest()

    def blocks(self) -> Iterator[bytes]:
        """Read the bytes, block by block.

        Raises:
            ImportFailed: it cannot be read any further.
        """
        try:
            # Returns what is available: a pipe may be silent for long.
            while block := self._file.read1(BLOCK):
                self._done += len(block)
                self._hash.update(block)
                yield block
        except OSError as error:
            raise self._failed(error) from None

    def rewind(self) -> bool:
        """Return to the beginning. Returns whether that was possible."""
        if self._size:
            self._file.seek(self._start)
            self._done = 0
            self._hash = sha256()
        return bool(self._size)

    def _failed(self, error: OSError) -> ImportFailed:
        return ImportFailed(f"{self._path}: {(error.strerror or str(error)).lower()}")
