"""A quiet connection says every 25 s that it is alive."""

from __future__ import annotations

from concurrent.futures import Future

from tests.client.messages import Frame


def test_beat_after_25_s_of_silence(idle: Future[tuple[float, Frame]]) -> None:
    seconds, frame = idle.result(timeout=45)
    assert frame["type"] == "beat"
    assert 20 < seconds < 35  # 35 s of silence would mean the connection is dead
