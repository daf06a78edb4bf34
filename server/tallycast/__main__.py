"""The ``tallycast`` command, also as ``python -m tallycast``: what happens before there is a command line.

Owns Ctrl+C while the rest is imported, which takes a second. Must stay quick to import itself.
"""

import os
import signal


def main() -> None:
    """The entry point of the ``tallycast`` command."""
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _leave)
    from tallycast.cli.command import main as command

    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


def _leave(*_: object) -> None:
    """Nothing is open yet that had to be closed; an exception would come out of whichever import it met."""
    os.write(2, b"tallycast: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
