"""The last steps of a child process before it becomes the engine by ``exec``.

Owns what must be set up inside the child. Run as a file by the interpreter, without this package, so that
nothing of a server's state, threads least of all, is in the process that becomes the engine; that is what
``preexec_fn`` could not promise. Does not depend on this project.

Usage: python -I -S launch.py <pid of the parent> <program> <argument> …
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(parent: int, command: list[str]) -> None:
    # The data holds the server's secrets.
    os.umask(0o077)
    # Python ignores SIGXFSZ, and exec keeps that: a file-size limit is a failed write in the engine's log,
    # not a silent death.
    if sys.platform == "linux":
        # The engine gets SIGTERM, a clean shutdown, when its parent dies in whatever way.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it died before prctl: no signal would come any more
        sys.exit("the parent process is gone")
    os.execv(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
