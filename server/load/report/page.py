"""placeholder"""

from server.load.run import Result


def text(result: Result) -> str:
    return ""
