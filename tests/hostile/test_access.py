"""Access: origins, tokens and addresses, each as an intruder would try them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import httpx
import jwt
import pytest
from tallycast.contract.codec import MAX_MESSAGE
from tallycast.contract.errors import CloseCode
from websockets.exceptions import ConnectionClosed

from tests.client.tokens import bearer
from tests.client.websocket import connect_blocking
from tests.hostile.conftest import warm
from tests.hostile.watch import FULL, attack
from tests.support.process import ServerProcess
from tests.support.signing import SECRET, private_key, public_pem

OPEN = None
MIB = 2**20


def _sites() -> str:
    return f'''
[sites.default]
origins = ["https://blog.example", "https://*.blog.example", "http://localhost:3000"]
[[sites.default.tokens]]
algorithm = "HS256"
secret = "{SECRET}"
[[sites.default.tokens]]
algorithm = "RS256"
public_key = """
{public_pem(private_key("RS256"))}"""
'''


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with a site whose origins and keys are said."""
    folder = tmp_path_factory.mktemp("guarded")
    config = folder / "tallycast.toml"
    config.write_text(_sites())
    flags = ["--config", str(config), "--forwarded-allow-ips", "none"]
    with ServerProcess(folder, flags=flags) as process:
        yield warm(process)


ORIGINS = {
    "https://blog.example": OPEN,
    "https://www.blog.example": OPEN,
    "http://localhost:3000": OPEN,
    "": OPEN,  # absent
    "https://evil.example": CloseCode.BAD_ORIGIN,
    "null": CloseCode.BAD_ORIGIN,
    "https://blog.example.evil.example": CloseCode.BAD_ORIGIN,
    "https://evilblog.example": CloseCode.BAD_ORIGIN,
    "https://a.b.blog.example": CloseCode.BAD_ORIGIN,
    "https://*.blog.example": CloseCode.BAD_ORIGIN,
    "http://blog.example": CloseCode.BAD_ORIGIN,
    "https://blog.example:8443": CloseCode.BAD_ORIGIN,
    "https://127.0.0.1": CloseCode.BAD_ORIGIN,
    "http://[::1]:3000": CloseCode.BAD_ORIGIN,
    "https://blog.example/": CloseCode.BAD_ORIGIN,
    "https://blog.example, https://evil.example": CloseCode.BAD_ORIGIN,
    "HTTPS://BLOG.EXAMPLE": CloseCode.BAD_ORIGIN,
}


def test_the_matrix_of_origins(guarded: ServerProcess) -> None:
    """Over WebSocket and HTTP alike; a request that is refused has no effect."""
    with (
        attack(guarded, "the matrix of origins", most=2 * MIB),
        httpx.Client(base_url=guarded.url, trust_env=False) as http,
    ):
        for origin, expected in ORIGINS.items():
            headers = {"Origin": origin} if origin else {}
            with connect_blocking(f"{guarded.ws_url}/ws?item=a", additional_headers=headers) as line:
                try:
                    line.recv(timeout=40)
                    code = None
                except ConnectionClosed:
                    code = line.close_code
            assert code == expected, origin
            answer = http.post("/v1/visitors", headers=headers)
            assert answer.status_code == (201 if expected is OPEN else 403), origin
            allowed = answer.headers.get("Access-Control-Allow-Origin")
            assert allowed == (origin or None if expected is OPEN else None), origin
    print(f"hostile: origins: {len(ORIGINS)} of {len(ORIGINS)} as they should be", end="")


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _by_hand(header: dict[str, Any], claims: dict[str, Any], key: bytes | None) -> str:
    """A token that no library would make: HS256 with whatever key, or no signature at all."""
    signed = b".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    signature = b"" if key is None else hmac.new(key, signed, hashlib.sha256).digest()
    return (signed + b"." + _encoded(signature)).decode()


def _tokens() -> dict[str, tuple[str, bool]]:
    now = int(time.time())
    claims = {"sub": "42", "aud": "default", "iat": now, "exp": now + 3600}
    public = public_pem(private_key("RS256"))

    def made(key: Any = SECRET, algorithm: str = "HS256", **other: Any) -> str:
        return jwt.encode({**claims, **other}, key, algorithm)

    return {
        "good": (made(), True),
        "good, RS256": (made(private_key("RS256"), "RS256"), True),
        "expired": (made(iat=now - 7200, exp=now - 3600), False),
        "not yet valid": (made(nbf=now + 3600), False),
        "from the future": (made(iat=now + 3600, exp=now + 7200), False),
        "wrong audience": (made(aud="other"), False),
        "no audience": (_by_hand({"alg": "HS256"}, {**claims, "aud": None}, SECRET.encode()), False),
        "no end": (_by_hand({"alg": "HS256"}, {**claims, "exp": None}, SECRET.encode()), False),
        "no subject": (made(sub=""), False),
        "wrong secret": (made("x" * 40), False),
        "wrong key": (made(private_key("RS256", 1), "RS256"), False),
        "alg none": (_by_hand({"alg": "none"}, claims, None), False),
        "alg NONE": (_by_hand({"alg": "NONE"}, claims, None), False),
        "HS256 signed with the public key": (_by_hand({"alg": "HS256"}, claims, public.encode()), False),
        "HS256, the public key in one line": (
            _by_hand({"alg": "HS256"}, claims, public.strip().encode()),
            False,
        ),
        "RS256 signed with the secret": (_by_hand({"alg": "RS256"}, claims, SECRET.encode()), False),
        "without its signature": (made().rpartition(".")[0] + ".", False),
        "garbage": ("garbage", False),
        "dots": ("...", False),
        "8 KiB long": (made(pad="x" * (MAX_MESSAGE - 512))[: MAX_MESSAGE - 64], False),
        "just above 4 KiB": (made(pad="x" * 3300), False),
    }


def test_the_matrix_of_tokens(guarded: ServerProcess) -> None:
    tokens = _tokens()
    with (
        attack(guarded, "the matrix of tokens", most=2 * MIB),
        httpx.Client(base_url=guarded.url, trust_env=False) as http,
    ):
        for name, (token, good) in tokens.items():
            with connect_blocking(f"{guarded.ws_url}/ws") as line:
                assert (line.ask("auth", token=token)["type"] == "ready") is good, name
                assert (line.ask("react", item="t", reaction="like")["type"] == "ack") is good, name
            headers = bearer(token)
            answer = http.put("/v1/reaction?item=t", json={"reaction": "like"}, headers=headers)
            assert answer.status_code == (200 if good else 401), name
        (item,) = http.get("/v1/items?item=t").json()["items"]
    assert item["counts"]["like"] == 1, "one person, with two tokens, and no other"
    print(f"hostile: tokens: {len(tokens)} of {len(tokens)} as they should be", end="")


def test_forged_addresses_share_one_bucket(guarded: ServerProcess) -> None:
    """The peer is not trusted, so whatever it says it is one address."""
    many = 1000 if FULL else 100
    let_in = 0
    began = time.monotonic()
    with attack(guarded, f"{many} upgrades with forged X-Forwarded-For"):
        for number in range(many):
            forged = f"10.{number // 256}.{number % 256}.1, 192.0.2.{number % 256}"
            headers = {"X-Forwarded-For": forged}
            with connect_blocking(f"{guarded.ws_url}/ws?item=f", additional_headers=headers) as line:
                try:
                    line.recv(timeout=40)
                    let_in += 1
                except ConnectionClosed:
                    assert line.close_code == CloseCode.OVERLOADED
    took = time.monotonic() - began
    print(f"hostile: {let_in} of {many} let in within {took:.1f} s (30, and one a second)", end="")
    assert 30 <= let_in <= 31 + took
