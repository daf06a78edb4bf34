"""Entity tags and the requests that name them (RFC 9110, sections 8.8.3 and 13.1.2)."""

from collections.abc import Iterable


def matches(if_none_match: Iterable[str], etag: str) -> bool:
    """Whether one of these If-None-Match headers names the tag, by weak comparison."""
    tags = {tag.strip().removeprefix("W/") for header in if_none_match for tag in header.split(",")}
    return "*" in tags or etag in tags
