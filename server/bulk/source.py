"""Where the lines of an import come from: a file, or standard input.

Must not know what is in a line.
"""

import os
import stat
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from server.bulk.rows import LONGEST_LINE
from server.errors import ImportFailed

STANDARD_INPUT = Path("-")


class Source:
    """The lines of a file; ``-`` is standard input."""

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            ImportFailed: it cannot be read.
        """
        self._path = path
        self._done = 0
        self._hash = sha256()
        try:
            self._file: BinaryIO = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
            status = os.fstat(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from None
        self._size = status.st_size if stat.S_ISREG(status.st_mode) else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def share(self) -> float | None:
        """From 0 to 1; ``None`` when there is no telling how much is to come."""
        return min(1.0, self._done / self._size) if self._size else None

    @property
    def name(self) -> str:
        """What it is called, without where it is."""
        return "standard input" if self._path == STANDARD_INPUT else self._path.name

    @property
    def digest(self) -> str:
        """The SHA-256 of what was read so far, in hex digits: as ``sha256sum`` prints it."""
        return self._hash.hexdigest()

    def lines(self) -> Iterator[bytes]:
        """Every line with its end. One that is too long is cut off behind what is too much.

        Raises:
            ImportFailed: it can be read no further.
        """
        read = self._file.readline
        try:
            while line := read(LONGEST_LINE + 1):
                self._took(line)
                yield line
                while not line.endswith(b"\n") and (line := read(LONGEST_LINE + 1)):
                    self._took(line)
        except OSError as error:
            raise self._failed(error) from None

    def _took(self, data: bytes) -> None:
        self._done += len(data)
        self._hash.update(data)

    def _failed(self, error: OSError) -> ImportFailed:
        return ImportFailed(f"{self._path}: {(error.strerror or str(error)).lower()}")
