"""What the tests of the engine share: a listener that records what a feed delivers."""


class Recorder:
    """Implements ``Listener``."""

    def __init__(self) -> None:
        self.counts: list[tuple[bytes, int, dict[str, int]]] = []
        self.resets: list[tuple[bytes, int]] = []
        self.reactions: list[tuple[bytes, str, str | None, int]] = []
        self.retired_channels: list[bytes] = []
        self.reread_channels: list[bytes] = []

    def on_counts(self, channel: bytes, version: int, counts: dict[str, int]) -> None:
        self.counts.append((channel, version, counts))

    def on_emptied(self, channel: bytes, version: int) -> None:
        self.resets.append((channel, version))

    def on_reaction(
        self, channel: bytes, item: str, version: int, reaction: str | None, connection_id: int
    ) -> None:
        self.reactions.append((channel, item, reaction, connection_id))

    def on_retired(self, channel: bytes) -> None:
        self.retired_channels.append(channel)

    async def reread(self, channels: list[bytes]) -> None:
        self.reread_channels += channels
