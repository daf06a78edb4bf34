"""Which base paths there may be, and what is left of a target."""

import pytest
from tallycast.api import pages
from tallycast.domain.base_path import RESERVED, check, strip
from tallycast.transport.websocket.handshake import PATH

from tests.support.parts import all_api_routes


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/", "/"),
        ("/tally", "/tally/"),
        ("/tally/", "/tally/"),
        ("/a/b.c/~d-e_f", "/a/b.c/~d-e_f/"),
        ("/x/v1", "/x/v1/"),
        ("/" + "x" * 64, "/" + "x" * 64 + "/"),
    ],
)
def test_base_paths(text: str, path: str) -> None:
    assert check(text) == path
    assert check(path) == path


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "tally",
            "//",
            "/a//b",
            "/a//",
            "/a/../b",
            "/..",
            "/./a",
            "/a b",
            "/a?b",
            "/a#b",
            "/%74ally",
            "/ä",
        ),
        *("https://example.org/tally", "/a\n", "/" + "x" * 65, "/a" * 9, "/a\\b"),
        *("/v1", "/ws/", "/live/tally", "/demo", "/static"),
    ],
)
def test_what_is_no_base_path(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        check(text)


def test_no_base_path_begins_like_a_path_of_the_servers() -> None:
    routes = [*all_api_routes(), *pages.routes(demo=True, base_path="/")]
    paths = [PATH, *(route.path for route in routes)]  # type: ignore[attr-defined]
    assert {path.split("/")[1] for path in paths} - {"", "embed.{digest}.js"} <= RESERVED


@pytest.mark.parametrize(
    ("target", "left"),
    [
        (b"/tally/", b"/"),
        (b"/tally/v1/items?item=/tally/", b"/v1/items?item=/tally/"),
        (b"/v1/items?item=/tally/", b"/v1/items?item=/tally/"),
        (b"/tally/tally/x", b"/tally/x"),
        (b"/tally", b"/tally"),
        (b"/tallyho/ws", b"/tallyho/ws"),
        (b"*", b"*"),
    ],
)
def test_what_is_left_of_a_target(target: bytes, left: bytes) -> None:
    assert strip(target, b"/tally/") == left
    assert strip(target, b"/") == target
