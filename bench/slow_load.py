"""The load program where there is no C compiler: ``load.c`` once more, slower than some of what it loads.

Owns the commands and what is counted; they are described in ``load.c``, and the answers have the same fields.
CPU of a server stays comparable, a slow load only takes longer; latency does not: it contains the load.

Usage: python -m bench.slow_load <host> <port>
"""

import json
import os
import resource
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench.slow_pool import READY, Connection, Opening, Pool

WATCHERS, SENDERS, STOPPED, AWAY = range(4)
STRIDE = 7919
ERROR = b'{"type":"error"'
COUNTED = ("matched", "bytes", "replies", "errors", "other", "extra", "backwards", "complete")


def _field(message: bytes, name: bytes) -> int:
    digits = message.partition(b'"' + name + b'":')[2]
    return int(digits[: len(digits) - len(digits.lstrip(b"0123456789"))] or 0)


class Load:
    """The commands, and the counts of the one that runs."""

    def __init__(self, host: str, port: int) -> None:
        self.pool = Pool(host, port, self._heard)
        self._words: dict[str, str] = {}
        self._count = dict.fromkeys(COUNTED, 0)
        self._match = self._reply = b""
        self._wanted = self._rounds_ever = self._numbered = 0
        self._timed = False
        self._sent: dict[int, list[Any]] = {}  # by number: when, item, version
        self._shown: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        self._newest = 0  # version that was answered
        self._since = self._late = -1.0  # the one that was away: when it came back, until up to date
        self._wanted = self._stale = 0
        self._pings: dict[int, float] = {}  # by number: when due, then how long the answer took

    def run(self, line: str) -> dict[str, Any]:
        """Run one command; its answer."""
        command, *words = line.split("\t")
        self._words = dict(word.split("=", 1) for word in words)
        started = time.monotonic()
        if command != "rest":
            self._begin()
        answer: dict[str, Any] = getattr(self, f"_do_{command}")(started) or {}
        used = resource.getrusage(resource.RUSAGE_SELF)
        spent = {"seconds": time.monotonic() - started, "cpu": used.ru_utime + used.ru_stime}
        return {**self._count, **answer, **spent, "lost": self.pool.lost(WATCHERS, SENDERS, AWAY)}

    def _number(self, key: str, otherwise: float) -> float:
        return float(self._words.get(key, otherwise))

    def _begin(self) -> None:
        self._count = dict.fromkeys(COUNTED, 0)
        self._match = self._words.get("match", self._words.get("update", "\0")).encode()
        self._reply = self._words.get("reply", "\0").encode()
        self._timed = bool(self._number("latency", 0))
        self._newest, self._since, self._late, self._stale = 0, -1.0, -1.0, 0
        for group in self.pool.groups:
            for connection in group:
                connection.seen = connection.flight = 0

    def _heard(self, connection: Connection, message: bytes) -> None:
        count = self._count
        if connection.group == WATCHERS and message.startswith(self._match):
            count["matched"] += 1
            count["bytes"] += len(message)
            connection.seen += 1
            count["complete"] += connection.seen == self._wanted
            count["extra"] += connection.seen > self._wanted
            if self._timed:
                version = _field(message, b"version")
                count["backwards"] += version <= connection.version
                connection.version = version
                self._shown[connection.index].append((version, time.monotonic()))
        elif connection.group == AWAY and message.startswith(self._match):
            self._returned(connection, _field(message, b"version"))
        elif connection.group == SENDERS and message.startswith(self._reply):
            count["replies"] += 1
            connection.flight -= 1
            number = _field(message, b"ref")
            if self._timed:
                version = _field(message, b"version")
                self._newest = max(self._newest, version)
                if note := self._sent.get(number):
                    note[2] = version
            if number in self._pings:
                self._pings[number] = time.monotonic() - self._pings[number]
        else:
            count["errors" if message.startswith(ERROR) else "other"] += 1

    def _returned(self, reader: Connection, version: int) -> None:
        """An update of the reader that goes away and comes back."""
        self._count["backwards"] += version <= reader.version
        reader.version = version
        if self._since >= 0 and self._late < 0:
            if version >= self._wanted:
                self._late = time.monotonic() - self._since
            else:
                self._stale += 1

    def _say(self, sender: Connection, item: int, turn: int) -> None:
        words = {"$I": f"{item:03d}", "$R": "dislike" if turn % 2 else "like", "$N": str(self._numbered)}
        message = self._words["message"]
        for place, word in words.items():
            message = message.replace(place, word)
        self._numbered += 1
        sender.sent += 1
        sender.flight += 1
        self.pool.send(sender, message.encode())

    def _say_next(self, sender: Connection, items: int) -> int:
        turn, rare = sender.index * STRIDE + sender.sent // 2, int(self._number("rare", 0))
        item = int(turn % rare != 0) if rare else turn % items
        self._say(sender, item, sender.sent)
        return item

    def _do_open(self, _: float) -> dict[str, Any]:
        words, group = self._words, int(self._words["group"])
        hellos = Path(words["hello"]).read_text().splitlines() if "hello" in words else []
        opening = Opening(
            int(words["count"]),
            words["path"],
            int(self._number("items", 1)),
            int(self._number("window", 0)),
            words.get("protocol", ""),
            [[message.encode() for message in line.split("\t")] for line in hellos],
            words.get("ready", "").encode(),
            int(self._number("greetings", 1)),
            self._number("timeout", 30),
            int(self._number("buffer", 0)),
        )
        self.pool.open(group, opening)
        return {"ready": self.pool.ready(group)}

    def _do_close(self, _: float) -> None:
        self.pool.close(int(self._words["group"]))

    def _do_pause(self, _: float) -> None:
        self.pool.listen(int(self._words["group"]), False)

    def _do_rest(self, started: float) -> None:
        self._rest_until(started + self._number("seconds", 0))

    def _rest_until(self, until: float) -> None:
        while time.monotonic() < until:
            self.pool.turn(0.01)

    def _do_broadcast(self, _: float) -> dict[str, Any]:
        watchers, sender = len(self.pool.groups[WATCHERS]), self.pool.groups[SENDERS][0]
        messages, done = int(self._words["messages"]), 0
        while done < int(self._words["rounds"]):
            deadline = time.monotonic() + self._number("timeout", 10)
            self._count["complete"], self._wanted = 0, done + 1
            for item in range(messages):
                self._say(sender, item, self._rounds_ever)
            self._rounds_ever += 1
            replies = (done + 1) * messages if "reply" in self._words else 0
            while self._count["complete"] < watchers or self._count["replies"] < replies:
                if time.monotonic() > deadline:
                    return {"rounds": done}
                self.pool.turn(0.1)
            done += 1
        return {"rounds": done}

    def _do_closed(self, started: float) -> dict[str, Any]:
        total, window, items = (int(self._number(key, 1)) for key in ("total", "window", "items"))
        deadline, sent = started + self._number("timeout", 60), 0
        while self._answered() < total and time.monotonic() < deadline:
            for sender in self.pool.groups[SENDERS]:
                while sender.state == READY and sender.flight < window and sent < total:
                    self._say_next(sender, items)
                    sent += 1
            self.pool.turn(0.1)
        return {"sent": sent}

    def _do_ping(self, started: float) -> dict[str, Any]:
        every, sent, asked = self._number("every", 0.002), 0, False
        senders = self.pool.groups[SENDERS]
        self._pings.clear()
        while not asked:
            due = started + sent * every
            asked = self.pool.turn(max(0.0, due - time.monotonic()))
            while time.monotonic() >= started + sent * every:
                self._pings[self._numbered] = started + sent * every
                self._say(senders[sent % len(senders)], 0, 0)
                sent += 1
        deadline = time.monotonic() + self._number("timeout", 5)
        while self._count["replies"] < sent and time.monotonic() < deadline:
            self.pool.turn(0.01)
        if not sent or self._count["replies"] < sent:
            return {"sent": sent}
        late = sorted(self._pings.values())
        return {"sent": sent, "p50": late[sent // 2], "p99": late[int(sent * 0.99)], "max": late[-1]}

    def _come_and_go(self, stage: int, passed: float) -> int:
        """The reader goes away, and comes back; how far it has come with that."""
        start = self._number("from", -1)
        if stage == 0 and 0 <= start <= passed:
            self.pool.listen(AWAY, False)
            return 1
        if stage == 1 and passed >= self._number("until", start):
            self._since, self._wanted = time.monotonic(), self._newest
            self.pool.listen(AWAY, True)
            return 2
        return stage

    def _do_rate(self, started: float) -> dict[str, Any]:
        rate, seconds, items = (
            self._number("rate", 1),
            self._number("seconds", 1),
            int(self._number("items", 1)),
        )
        total, sent, stage = int(rate * seconds), 0, 0
        senders = self.pool.groups[SENDERS]
        deadline = started + seconds + self._number("timeout", 10)
        self._sent.clear()
        self._shown.clear()
        while self._answered() < total and time.monotonic() < deadline:
            self.pool.turn(0.01 if sent == total else max(0.0005, started + sent / rate - time.monotonic()))
            while sent < min(total, int((time.monotonic() - started) * rate) + 1):
                number, now = self._numbered, time.monotonic()
                self._sent[number] = [now, self._say_next(senders[sent % len(senders)], items), 0]
                sent += 1
            stage = self._come_and_go(stage, time.monotonic() - started)
        spent = time.monotonic() - started
        if not self._timed:
            return {"sent": sent, "sending": spent}
        self._rest_until(time.monotonic() + 0.5)  # The last updates may come after the last answers.
        groups = self.pool.groups
        readers = [*groups[WATCHERS], *groups[AWAY]] if items == 1 else []
        found = {"behind": sum(reader.version != self._newest for reader in readers)}
        if stage == 2:
            found |= {"stale": self._stale, "back": self._late}
        return {"sent": sent, "sending": spent, **found, **self._latency(items)}

    def _answered(self) -> int:
        return self._count["replies"] + self._count["errors"]

    def _latency(self, items: int) -> dict[str, Any]:
        """Microseconds from each message to the first update that shows it, at each watcher of its item."""
        samples, missing = [], 0
        for watcher in self.pool.groups[WATCHERS]:
            shown = iter(self._shown[watcher.index])
            version, at = next(shown, (None, 0.0))
            notes = (note for note in self._sent.values() if note[1] == watcher.index % items and note[2])
            for sent, _, wanted in sorted(notes, key=lambda note: note[2]):
                while version is not None and version < wanted:
                    version, at = next(shown, (None, 0.0))
                if version is None:
                    missing += 1
                else:
                    samples.append(int((at - sent) * 1e6))
        samples.sort()
        shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0} if samples else {}
        last = len(samples) - 1
        points = {name: samples[min(last, int(share * len(samples)))] for name, share in shares.items()}
        return {"samples": len(samples), "missing": missing, **points}


def main(host: str, port: int) -> None:
    """Take commands until standard input ends."""
    load, held = Load(host, port), b""
    while True:
        if not load.pool.turn(1.0):  # Between commands too, so that nothing piles up.
            continue
        got = os.read(sys.stdin.fileno(), 65536)
        if not got:
            return
        *lines, held = (held + got).split(b"\n")
        for line in lines:
            print(json.dumps(load.run(line.decode())), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
