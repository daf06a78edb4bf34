"""A listening Unix socket: bound at a path, given its owner and mode, removed in the end.

Owns the file. One that a killed server left is replaced, a socket that something accepts on is not. Does not
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

from tallycast.contract.errors import SettingsError, StartError

# Of a user or a group on Linux: the number above it means "as it is" (chown(2)).
HIGHEST = 2**32 - 2


class Owner(NamedTuple):
    """Numbers of a user and a group; -1 leaves what it is."""

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
    if number > HIGHEST:
        raise SettingsError(f"--socket-owner: expected a number up to {HIGHEST}, not {text}")
    return number


class UnixListener(socket.socket):
    """The socket; ``remove`` it before it is closed."""

    _inode: tuple[int, int] | None = None

    @classmethod
    def bind_at(cls, path: str, mode: int, owner: Owner) -> "UnixListener":
        """Listen at ``path``.

        Raises:
            OSError: the path cannot be used; with ``EADDRINUSE`` something accepts connections there, or is
                about to; with ``EEXIST`` it is not a socket.
        """
        listener = cls(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with _locked(os.path.dirname(path)):
                _remove_stale(path)
                listener.bind(path)
                found = os.lstat(path)
                listener._inode = found.st_dev, found.st_ino
                # Until it listens, connections are refused, whatever the mode is.
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
        """Remove the file, unless another socket is at its path by now.

        While the socket is open its inode is not given to another file.
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
        return StartError(f"{path} is in use: stop the server that listens there, or choose another --host")
    if error.errno == errno.EEXIST:
        return StartError(f"{path} is not a socket: remove it, or choose another --host")
    return StartError(f"cannot listen on {path}: {(error.strerror or str(error)).lower()}")


@contextmanager
def _locked(folder: str) -> Iterator[None]:
    """Let no other server replace a socket of the folder meanwhile."""
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
    """Remove a socket on which connections are refused."""
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
