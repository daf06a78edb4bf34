"""Tokens that must not be taken, made from a genuine one."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import jwt

MAX_TOKEN = 4 * 1024
OTHER_SECRET = "not the secret of this server, whatever that one is" * 2


def _parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    return jwt.get_unverified_header(token), jwt.decode(token, options={"verify_signature": False})


def _encoded(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def _resigned(token: str, drop: str = "", algorithm: str = "HS256", **claims: Any) -> str:
    header, payload = _parts(token)
    payload = {name: value for name, value in (payload | claims).items() if name != drop}
    extra = {name: value for name, value in header.items() if name not in ("alg", "typ")}
    return jwt.encode(payload, OTHER_SECRET, algorithm=algorithm, headers=extra)


def _unsigned(token: str, alg: str, **claims: Any) -> str:
    header, payload = _parts(token)
    return f"{_encoded(header | {'alg': alg})}.{_encoded(payload | claims)}."


def _altered(token: str, **claims: Any) -> str:
    """Other claims under the genuine signature."""
    header, _, signature = token.split(".")
    return f"{header}.{_encoded(_parts(token)[1] | claims)}.{signature}"


def _flipped(token: str) -> str:
    head, _, signature = token.rpartition(".")
    return f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"


# A token of no length or of too much may also be refused as a message.
MALFORMED: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "over-4-KiB": lambda token: token + "A" * (MAX_TOKEN + 1 - len(token)),
    "claims-of-4-KiB": lambda token: _resigned(token, padding="x" * MAX_TOKEN),
}

FORGED: dict[str, Callable[[str], str]] = {
    "another-secret": _resigned,
    "another-secret-hs512": lambda token: _resigned(token, algorithm="HS512"),
    "expired": lambda token: _resigned(token, exp=int(time.time()) - 3600, iat=int(time.time()) - 7200),
    "long-expired": lambda token: _resigned(token, exp=1),
    "without-expiry": lambda token: _resigned(token, drop="exp"),
    "without-audience": lambda token: _resigned(token, drop="aud"),
    "another-audience": lambda token: _resigned(token, aud="someone else"),
    "another-site": lambda token: _resigned(token, site="other"),
    "alg-none": lambda token: _unsigned(token, "none"),
    "alg-None": lambda token: _unsigned(token, "None"),
    "alg-empty": lambda token: _unsigned(token, ""),
    "alg-none-as-another": lambda token: _unsigned(token, "none", sub="a:someone-else"),
    "alg-none-signed": lambda token: _unsigned(token, "none") + token.rpartition(".")[2],
    "another-subject": lambda token: _altered(token, sub="a:someone-else"),
    "stretched": lambda token: _altered(token, exp=int(time.time()) + 10**9),
    "other-signature": _flipped,
    "cut-signature": lambda token: token[:-8],
    "no-signature": lambda token: token.rpartition(".")[0] + ".",
    "two-parts": lambda token: token.rpartition(".")[0],
    "four-parts": lambda token: token + ".AAAA",
    "not-a-token": lambda _: "not-a-token",
    "dots": lambda _: "..",
    "a-visitor-id": lambda _: "a:someone",
}
