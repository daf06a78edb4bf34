"""Content codings (RFC 9110, section 12.5.3) and entity tags (sections 8.8.3 and 13.1.2) of a request.

Does not depend on the content of responses.
"""

import re
from collections.abc import Iterable, Sequence

_CODING = re.compile(
    r"\s*([\w!#$%&'*+.^`|~-]+)\s*(?:;\s*q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)\s*)?",
    re.ASCII | re.IGNORECASE,
)
# A coding that is neither named nor refused comes after every named one.
_LEAST = 0.0001


def choose(accept_encoding: Iterable[str], offered: Sequence[str]) -> str:
    """The offered coding with the highest weight; among equals the first one.

    ``offered`` ends with ``identity``, which is also the answer when the client refuses everything: it may be
    unable to read that, but never gets an error.
    """
    weights: dict[str, float] = {}
    for part in ",".join(accept_encoding).split(","):
        found = _CODING.fullmatch(part)
        if found:
            weights[found[1].lower()] = 1.0 if found[2] is None else float(found[2])

    def weight(coding: str) -> float:
        return weights.get(coding, weights.get("*", _LEAST if coding == offered[-1] else 0.0))

    best = max(offered, key=weight)
    return best if weight(best) > 0 else offered[-1]


def matches(if_none_match: Iterable[str], etag: str) -> bool:
    """Whether one of these If-None-Match headers names the tag, by weak comparison."""
    tags = {tag.strip().removeprefix("W/") for header in if_none_match for tag in header.split(",")}
    return "*" in tags or etag in tags
