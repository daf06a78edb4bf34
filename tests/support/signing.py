"""Keys of publishers, made once, and tokens signed with them."""

import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

SECRET = "a secret of the tests, which is long enough"


def private_key(algorithm: str, number: int = 0) -> Any:
    """A private key; another one for each number."""
    return _made(algorithm, number)


@cache
def _made(algorithm: str, _number: int) -> Any:
    match algorithm:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
    raise AssertionError(algorithm)


def public_pem(private: Any) -> str:
    """The public half, as text."""
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return str(private.public_key().public_bytes(serialization.Encoding.PEM, form).decode())


def private_pem(private: Any) -> str:
    """The private key, as text."""
    form = serialization.PrivateFormat.PKCS8
    return str(private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode())


def jwk(private: Any, algorithm: str, kid: str | None) -> dict[str, Any]:
    """The public half, as a member of a key set."""
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key(), as_dict=True)
    return {**made, **({} if kid is None else {"kid": kid})}


def user_token(user: str, site: str = "default") -> str:
    """A token for a user of a site that knows `SECRET`, for ten minutes."""
    now = int(time.time())
    return jwt.encode({"sub": user, "aud": site, "iat": now, "exp": now + 600}, SECRET, "HS256")


def key_set(*keys: dict[str, Any]) -> bytes:
    """A key set, as it is published."""
    return json.dumps({"keys": keys}).encode()
