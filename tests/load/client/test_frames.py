"""Where frames end, and where connections come from."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tallycast.contract import frames
from tallycast_load.client.frames import end_of_frame, payload
from tallycast_load.client.target import Target


@given(st.binary(max_size=70_000), st.binary(max_size=20))
def test_frames_are_taken_apart_where_they_end(body: bytes, more: bytes) -> None:
    frame = frames.frame(frames.TEXT, body)
    assert end_of_frame(frame + more, 0) == len(frame)
    assert payload(frame) == body
    assert end_of_frame(frame[:-1], 0) is None


def test_many_connections_to_this_machine_come_from_several_addresses() -> None:
    assert Target.parse("http://127.0.0.1:1").sources(20_000) == [
        "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4",
    ]  # fmt: skip
    assert Target.parse("http://127.0.0.1:1").sources(1000) == []
    assert Target.parse("http://[::1]:1").sources(20_000) == []
    assert Target.parse("http://192.0.2.1:1").sources(20_000) == []
    assert Target.parse("https://127.0.0.1/tally/").websocket("a b") == "wss://127.0.0.1/tally/ws?site=a%20b"


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.1", True), ("127.0.0.9", True), ("[::1]", True), ("192.0.2.1", False)]
)
def test_a_server_at_a_loopback_address_shares_the_machine(host: str, loopback: bool) -> None:
    assert Target.parse(f"http://{host}:1").is_loopback is loopback
