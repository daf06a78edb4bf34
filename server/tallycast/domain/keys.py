"""Which keys fit which algorithm of a token (RFC 7518, RFC 8037).

Does not depend on where a key comes from.
"""

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey, Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

# RFC 7518, sections 3.2 and 3.3.
SECRET_BYTES = 32
RSA_BITS = 2048


def algorithm_of(key: object) -> str | None:
    """The algorithm that a public or private key is used with; None: it is not supported."""
    match key:
        case RSAPublicKey() | RSAPrivateKey():
            return "RS256"
        case EllipticCurvePublicKey() | EllipticCurvePrivateKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
        case Ed25519PublicKey() | Ed25519PrivateKey() | Ed448PublicKey() | Ed448PrivateKey():
            return "EdDSA"
    return None


def check_key(key: object, algorithm: str) -> None:
    """Accept a key for this algorithm.

    Raises:
        ValueError: it is for another algorithm, or too weak.
    """
    if algorithm_of(key) != algorithm:
        raise ValueError(f"the key is not for {algorithm}")
    if isinstance(key, RSAPublicKey | RSAPrivateKey) and key.key_size < RSA_BITS:
        raise ValueError(f"an RSA key has at least {RSA_BITS} bits")
