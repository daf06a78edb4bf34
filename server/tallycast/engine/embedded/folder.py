"""The data folder of an embedded engine: its lock, and the places of its files.

Owns the two locks, the engine's log file and the choice of its socket. Does not depend on how an engine is
started, stopped or queried.

``server.lock`` is held by one server process. ``engine.lock`` is held by the engine itself, through a
descriptor that it inherits, so that it is free exactly when no process writes the data any more: an engine
that outlived a killed server still holds it.
"""

import fcntl
import json
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import BinaryIO

from tallycast.engine.store import EngineError

# sun_path holds 104 bytes on the BSDs and macOS, 108 on Linux, its closing zero included.
SOCKET_PATH_LIMIT = 100
LOG_LIMIT = 1_000_000
BLOCK = 65_536

# "8746:M 23 Nov 2026 05:02:58.389 # " in the engine's log.
_LOG_PREFIX = re.compile(r"^\d+:\S+ (?:\d+ \w+ \d+ [\d:.]+|\(\d+\)) ?(?P<level>[-.*#])? ?")


class FolderState(Enum):
    """What is at a data folder's path while its engine runs."""

    INTACT = "as it was"
    DAMAGED = "files of the engine are missing"
    REPLACED = "other files of the same names"
    GONE = "the folder is missing"
    FOREIGN = "another folder with data"


@dataclass(frozen=True)
class EngineNote:
    """The note that the holder of ``engine.lock`` has left about itself."""

    pid: int
    socket: Path


class DataFolder:
    """One data folder; after ``take`` it belongs to this process."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.log = self.path / "engine.log"
        self._server_lock: int | None = None
        # The folder that was taken, kept open so that no other one gets its inode number.
        self._taken: int | None = None
        self._private: Path | None = None
        self._log_start = 0

    def take(self) -> bool:
        """Take the folder; False when another server holds it.

        Raises:
            EngineError: it cannot be used at all.
        """
        with self._readable_errors():
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._server_lock = _lock(self.path / "server.lock")
            if self._server_lock is None:
                return False
            _write(self._server_lock, str(os.getpid()))
            self._taken = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._turn_log()
        return True

    def release(self) -> None:
        """Release the folder, and remove what lies outside of it. Harmless when it was never taken."""
        if self._private is not None:
            _remove_private(self._private)
            self._private = None
        self._close_descriptors()

    def state(self) -> FolderState:
        """What is at the folder's path now."""
        assert self._taken is not None
        files = self.path / "appendonlydir"
        try:
            same = os.path.samestat(os.stat(self.path), os.fstat(self._taken))
        except OSError:
            return FolderState.GONE
        if not same:
            return FolderState.FOREIGN if files.exists() else FolderState.GONE
        return FolderState.DAMAGED if self.parts() is None else FolderState.INTACT

    def parts(self) -> dict[str, tuple[int, int]] | None:
        """The files of the engine's manifest, with what identifies each; ``None``: not all are there."""
        files = self.path / "appendonlydir"
        found = _parts(files)
        # Once more, because a rewrite may just have replaced what the manifest named.
        return _parts(files) if found is None else found

    def check_intact(self) -> None:
        """Check that a restarted engine would find what it has confirmed, not an empty folder.

        Raises:
            EngineError: it would not.
        """
        if (state := self.state()) is not FolderState.INTACT:
            raise EngineError(
                f"{self.path}: {state.value}. Put back what was there, or stop the server and restore "
                "a backup"
            )

    def recreate(self) -> None:
        """Create the folder again, and take it.

        Raises:
            EngineError: it cannot be made, or another server has taken it.
        """
        fresh = DataFolder(self.path)
        try:
            if not fresh.take():
                raise EngineError(f"the data folder {self.path} was taken by another server")
        except EngineError:
            fresh.release()
            raise
        self._close_descriptors()
        self._server_lock, self._taken = fresh._server_lock, fresh._taken

    def _close_descriptors(self) -> None:
        for descriptor in (self._server_lock, self._taken):
            if descriptor is not None:
                os.close(descriptor)
        self._server_lock = self._taken = None

    def holder(self) -> str:
        """The process id of the server that holds the folder, as far as is known."""
        try:
            return (self.path / "server.lock").read_text(encoding="ascii").strip() or "unknown"
        except (OSError, ValueError):
            return "unknown"

    def take_engine_lock(self) -> int | None:
        """A descriptor that holds ``engine.lock``, to be inherited; None when an engine still runs."""
        with self._readable_errors():
            return _lock(self.path / "engine.lock")

    def note_engine(self, lock: int, note: EngineNote) -> None:
        """Write the note about the engine that is going to hold ``lock``."""
        with self._readable_errors():
            _write(lock, json.dumps({"pid": note.pid, "socket": str(note.socket)}))

    def noted_engine(self) -> EngineNote | None:
        """The engine that holds, or last held, ``engine.lock``."""
        try:
            note = json.loads((self.path / "engine.lock").read_text(encoding="utf-8"))
            return EngineNote(int(note["pid"]), Path(note["socket"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def forget_engine(self) -> None:
        """Clean up after an engine that has ended: the private folder of a killed server's socket."""
        note = self.noted_engine()
        if note is not None and note.socket.parent not in (self.path, self._private):
            _remove_private(note.socket.parent)

    def socket(self) -> Path:
        """The path of the socket: in the folder, or in a short private one where its path is too long."""
        usual = self.path / "engine.sock"
        if _is_short(usual):
            return usual
        if self._private is not None:
            # It is among temporary files, which are cleaned up periodically.
            with self._readable_errors():
                if not self._private.exists():
                    self._private.mkdir(mode=0o700)
        else:
            with self._readable_errors():
                base = tempfile.gettempdir()
                if not _is_short(Path(base) / "tallycast-12345678" / usual.name):
                    base = "/tmp"  # noqa: S108 - mkdtemp makes the folder, for this user alone
                self._private = Path(tempfile.mkdtemp(prefix="tallycast-", dir=base))
        return self._private / usual.name

    def open_log(self) -> int:
        """A descriptor to append to the engine's log; ``log_tail`` returns what follows."""
        with self._readable_errors():
            log = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._log_start = os.fstat(log).st_size
            return log

    def log_tail(self, lines: int = 5) -> list[str]:
        """The last lines of the engine's log since ``open_log``, without process id and time."""
        return [text for _, text in self._log_lines()][-lines:]

    def said(self, words: str) -> str | None:
        """The last line of the engine's log since ``open_log`` that contains this text."""
        return next((text for _, text in reversed(self._log_lines()) if words in text), None)

    def free(self) -> int:
        """Free space on the disk (bytes), for this user."""
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize

    def cut_zeros(self) -> int:
        """Cut zeros off the end of the file that the engine wrote last. Returns how many there were.

        After a power cut a file system may show a file as longer than what had been written of it. The engine
        would take the zeros for damage. None of its commands ends in one, so nothing is lost with them.
        """
        with self._readable_errors():
            written = sorted(self.path.glob("appendonlydir/*.incr.aof"), key=_number)
            if not written:
                return 0
            with written[-1].open("r+b") as aof:
                size = aof.seek(0, os.SEEK_END)
                end = _end_without_zeros(aof, size)
                if end < size:
                    aof.truncate(end)
        return size - end

    def reason(self) -> str:
        """The line of the engine's log that is the most likely reason why it ended."""
        lines = self._log_lines()
        warnings = [text for level, text in lines if level == "#" and not text.startswith("WARNING")]
        plain = [text for level, text in lines if level == ""]
        # A wrong configuration is reported in plain lines, before there is a log.
        return " ".join(plain) or (warnings or [text for _, text in lines] or ["it gave no reason"])[-1]

    def _log_lines(self) -> list[tuple[str, str]]:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                text = log.read(LOG_LIMIT).decode("utf-8", "replace")
        except OSError:
            return []
        found = []
        for line in text.splitlines():
            prefix = _LOG_PREFIX.match(line)
            rest = line[prefix.end() :] if prefix else line
            if rest.strip():
                found.append(((prefix["level"] or "*") if prefix else "", rest.strip()))
        return found

    def _turn_log(self) -> None:
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            self.log.replace(self.log.with_suffix(".log.1"))

    @contextmanager
    def _readable_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            where = f" ({error.filename})" if error.filename not in (None, str(self.path)) else ""
            raise EngineError(f"cannot use the data folder {self.path}: {reason}{where}") from error


def _parts(files: Path) -> dict[str, tuple[int, int]] | None:
    try:
        manifest = (files / "appendonly.aof.manifest").read_text(encoding="utf-8")
        # "file appendonly.aof.1.base.rdb seq 1 type b"; type h is history, about to be deleted.
        words = [line.split() for line in manifest.splitlines()]
        names = [line[1] for line in words if len(line) > 5 and line[5] != "h"]
        found = {name: (files / name).stat() for name in names}
    except (OSError, ValueError):
        return None
    if not all(stat.S_ISREG(part.st_mode) for part in found.values()):
        return None
    return {name: (part.st_dev, part.st_ino) for name, part in found.items()}


def _number(file: Path) -> int:
    """The number of a part of the append-only file: ``appendonly.aof.7.incr.aof``."""
    return int(file.name.split(".")[-3])


def _end_without_zeros(file: BinaryIO, end: int) -> int:
    while end:
        start = max(0, end - BLOCK)
        file.seek(start)
        if kept := len(file.read(end - start).rstrip(b"\0")):
            return start + kept
        end = start
    return 0


def _lock(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)


def _is_short(path: Path) -> bool:
    try:
        return len(str(path).encode()) <= SOCKET_PATH_LIMIT
    except UnicodeEncodeError:  # Not UTF-8: no URL can carry it.
        return False


def _remove_private(folder: Path) -> None:
    """Remove the socket and its folder, and nothing that is not empty."""
    if not folder.name.startswith("tallycast-"):
        return
    try:
        (folder / "engine.sock").unlink(missing_ok=True)
        folder.rmdir()
    except OSError:
        pass
