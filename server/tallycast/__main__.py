"""The entry point of the ``tallycast`` command, also as ``python -m tallycast``.

Owns Ctrl+C during the imports, which take a second. Does not depend on any module of the package before that,
so that it is imported at once.
"""

import os
import signal


def main() -> None:
    """Import the command line, and run it."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _exit)
    from tallycast.cli.command import main as command

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _exit(*_: object) -> None:
    """Exit at once: nothing is open yet, and an exception would be raised within any import."""
    os.write(2, b"tallycast: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
