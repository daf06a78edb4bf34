"""A listening Unix socket: bound at a path, with its owner and mode, removed at the end.

Owns the file. One that a killed server left is replaced, a socket that accepts connections is not. Does not
depend on settings or on what accepts connections.
"""

import errno
import fcntl
import grp
import os
import pwd
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from tallycast.config.errors import SettingsError, StartError

# The highest user or group id on Linux; the next number means "unchanged" (chown(2)).
MAX_ID = 2**32 - 2


class Owner(NamedTuple):
    """A user id and a group id; -1 leaves it unchanged."""

    user: int = -1
    group: int = -1


def owner(text: str | None) -> Owner:
    """The owner in ``user``, ``user:group`` or ``:group``, by names or numbers.

    Raises:
        SettingsError: there is no such user or group.
    """
    user, _, group = (text or "").partition(":")
    try:
        return Owner(
            -1 if not user else _number(user) if user.isdecimal() else pwd.getpwnam(user).pw_uid,
            -1 if not group else _number(group) if group.isdecimal() else grp.getgrnam(group).gr_gid,
        )
    except KeyError as error:
        raise SettingsError(f"--socket-owner: {error.args[0]}") from None


def _number(text: str) -> int:
    number = int(text)
    if number > MAX_ID:
        raise SettingsError(f"--socket-owner: expected a number up to {MAX_ID}, not {text}")
    return number


class UnixListener(socket.socket):
    """The socket. Call ``remove`` before it is closed."""

    _inode: tuple[int, int] | None = None

    @classmethod
    def bind_at(cls, path: str, mode: int, owner: Owner) -> "UnixListener":
        """Listen at ``path``.

        Raises:
            OSError: the path cannot be used. ``EADDRINUSE``: another process accepts connections there, or is
                about to; ``EEXIST``: it is not a socket.
        """
        listener = cls(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _locked(os.path.dirname(path)):
                _remove_stale(path)
                listener.bind(path)
                found = os.lstat(path)
                listener._inode = found.st_dev, found.st_ino
                # Connections are refused until it listens, whatever the mode is.
                if owner != Owner():
                    os.chown(path, *owner)
                os.chmod(path, mode)
                listener.listen(socket.SOMAXCONN)
        except BaseException:
            listener.remove()
            listener.close()
            raise
        return listener

    def remove(self) -> None:
        """Remove the file, unless another socket has taken its path.

        While the socket is open, no other file gets its inode number.
        """
        if self._inode is None:
            return
        path = self.getsockname()
        with suppress(OSError):
            found = os.lstat(path)
            if (found.st_dev, found.st_ino) == self._inode:
                os.unlink(path)


def refused(error: OSError, path: str) -> StartError:
    """Why a path cannot be used, in one line."""
    if error.errno == errno.EADDRINUSE:
        return StartError(f"{path} is in use: stop the process that listens there, or choose another --host")
    if error.errno == errno.EEXIST:
        return StartError(f"{path} is not a socket: remove it, or choose another --host")
    return StartError(f"cannot listen on {path}: {(error.strerror or str(error)).lower()}")


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Lock the folder, so that no other server replaces a socket in it meanwhile."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "another server is starting there") from None
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: str) -> None:
    """Remove a socket that refuses connections."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, "not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:
            pass  # Its queue is full.
    raise OSError(errno.EADDRINUSE, "in use")
