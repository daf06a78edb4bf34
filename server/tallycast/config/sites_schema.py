"""The keys of the sites file (``tallycast.toml``): names, types, defaults, descriptions.

Owns what each key may hold; validation and the tables of docs/configuration.md are derived from it. Does not
depend on how the file is read.
"""

import json
import re
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.fields import FieldInfo

from tallycast.domain.keys import SECRET_BYTES, check_key
from tallycast.domain.limits import AUTH_COST, Limits
from tallycast.domain.patterns import ItemPattern
from tallycast.domain.rates import Rate, rate
from tallycast.domain.sites import ANY, DEFAULT_KINDS, MAX_KINDS, SITE_NAME, Site
from tallycast.domain.tokens import Claims, Key, KeySet

MAX_TOKENS = 8

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
# Claims of RFC 7519 and OpenID Connect that describe the token, not the user.
_NO_SUBJECTS = ("aud", "auth_time", "azp", "exp", "iat", "iss", "jti", "nbf", "nonce")


# A validator raises ValueError with the reason, which the error line repeats.


def _kind(kind: str) -> str:
    if not 1 <= len(kind.encode(errors="replace")) <= 64 or not _PRINTABLE.fullmatch(kind):
        raise ValueError(f"{kind!r} is not the name of a reaction: 1 to 64 bytes, no control characters")
    return kind


def _origin(origin: str) -> str:
    if origin in (ANY, "null"):
        return origin
    wrong = f"{origin!r} is not an origin: "
    example = "https://blog.example, https://*.blog.example, null or *"
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        raise ValueError(f"{wrong}expected one like {example}") from None
    host = (parts.hostname or "").removeprefix("*.")
    if not parts.scheme or not re.fullmatch(r"[a-z0-9_.-]+|[0-9a-f:.]+", host) or "@" in parts.netloc:
        raise ValueError(f"{wrong}expected one like {example}; names in their ASCII form")
    if parts.path or parts.query or parts.fragment or origin[-1] in "/?#":
        raise ValueError(f"{wrong}expected nothing after host and port, not even /")
    if origin != origin.lower():
        raise ValueError(f"{wrong}expected lower case, as browsers send it")
    if port is not None and port == _DEFAULT_PORTS.get(parts.scheme):
        raise ValueError(f"{wrong}expected no port {port}, which browsers omit with {parts.scheme}")
    if origin != f"{parts.scheme}://{parts.netloc}" or parts.netloc.endswith(":"):
        raise ValueError(f"{wrong}expected one like {example}")
    return origin


def _admin_key(text: str) -> bytes:
    found = _SHA256.fullmatch(text)
    if found is None:
        raise ValueError("expected sha256: and the 64 hex digits of the SHA-256 of an admin key")
    return bytes.fromhex(found[1])


def _key_set_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        local = parts.scheme == "http" and parts.hostname in _LOOPBACK
        clean = not {"@", "#"} & set(url) and not {".", ".."} & set(parts.path.split("/"))
        if (parts.scheme == "https" or local) and parts.hostname and parts.port != 0 and clean:
            return url
    except ValueError:
        pass
    # Keys that could be changed in transit would let an attacker sign any token.
    raise ValueError(
        "expected an https:// URL (http:// on this machine only), without user, fragment, '.' and '..'"
    )


def _audience(audience: str) -> str:
    if not 1 <= len(audience) <= 1024 or not _PRINTABLE.fullmatch(audience):
        raise ValueError("an audience has 1 to 1024 characters, and no control characters")
    return audience


def _subject(claim: str) -> str:
    if claim in _NO_SUBJECTS:
        raise ValueError(f"{claim!r} is not a claim that names a user, as sub does")
    if not 1 <= len(claim) <= 256 or not _PRINTABLE.fullmatch(claim):
        raise ValueError("the name of a claim has 1 to 256 characters, and no control characters")
    return claim


def _distinct(values: list[Any]) -> list[Any]:
    for at, value in enumerate(values):
        if value in values[:at]:
            raise ValueError(f"{value!r} is listed twice")
    return values


def _rate(text: Any) -> Rate:
    if not isinstance(text, str):
        raise ValueError("expected a rate in quotes, like '10/s burst 20'")
    return rate(text)


class _Form(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class TokenForm(_Form):
    """A key that the site's own tokens are signed with."""

    algorithm: Annotated[
        Literal["HS256", "RS256", "ES256", "EdDSA"],
        Field(description="`HS256`, `RS256`, `ES256` or `EdDSA`."),
    ]
    secret: Annotated[
        str | None,
        Field(description="For HS256: the secret, at least 32 bytes, that only your own server shares."),
    ] = None
    public_key: Annotated[
        str | None,
        Field(
            description="For the other algorithms: the public key in PEM form. "
            "RSA keys have at least 2048 bits."
        ),
    ] = None
    jwks: Annotated[
        Annotated[str, AfterValidator(_key_set_url)] | None,
        Field(
            description="Instead of `public_key`: the URL of a set of public keys (RFC 7517): `https://`, or "
            "`http://` on the same machine."
        ),
    ] = None
    kid: Annotated[
        Annotated[str, Field(min_length=1, max_length=256)] | None,
        Field(
            description="Key id (`kid`) in the header of the tokens that this key verifies. "
            "Without it, the key is tried on every token."
        ),
    ] = None
    audience: Annotated[
        Annotated[str, AfterValidator(_audience)] | None,
        Field(
            description="Exact value that `aud` must be, or contain if it is a list. "
            "Without it: the name of the site."
        ),
    ] = None
    subject: Annotated[
        str, AfterValidator(_subject), Field(description="Claim that holds the user's id.")
    ] = Claims().subject

    @model_validator(mode="after")
    def _check(self) -> "TokenForm":
        wanted = ("secret",) if self.algorithm == "HS256" else ("public_key", "jwks")
        given = [name for name in ("secret", "public_key", "jwks") if getattr(self, name) is not None]
        if len(given) != 1 or given[0] not in wanted:
            raise ValueError(f"{self.algorithm} needs {' or '.join(wanted)}, and nothing else")
        if self.jwks is not None and self.kid is not None:
            raise ValueError("the keys of a key set have ids of their own: leave out kid")
        self.key()
        return self

    def key(self) -> Key | KeySet:
        """The key, or set of keys, that is described.

        Raises:
            ValueError: the key is not usable.
        """
        claims = Claims(self.audience, self.subject)
        if self.jwks is not None:
            return KeySet(self.algorithm, self.jwks, claims)
        if self.secret is not None:
            if len(self.secret.encode(errors="replace")) < SECRET_BYTES:
                raise ValueError(f"a secret has at least {SECRET_BYTES} bytes")
            return Key(self.algorithm, self.secret, self.kid, self.secret.encode(), claims)
        assert self.public_key is not None
        loaded = _public_key(self.public_key, self.algorithm)
        return Key(self.algorithm, self.public_key, self.kid, loaded, claims)


_Rate = Annotated[Rate, BeforeValidator(_rate)]


class LimitsForm(_Form):
    """The limits of a site's clients."""

    items_a_message: Annotated[
        int, Field(ge=1, le=100, description="Item ids per message or request, at most 100.")
    ] = Limits().items_a_message
    items_a_connection: Annotated[
        int, Field(ge=1, le=100_000, description="Items that a connection watches at a time.")
    ] = Limits().items_a_connection
    messages: Annotated[
        _Rate,
        Field(
            description="Messages per connection. Every frame counts, including pings, empty frames and "
            "fragments; an `auth` counts as ten. A connection that exceeds the rate by another whole burst "
            "is closed with 4500."
        ),
    ] = Limits().messages
    ids: Annotated[
        _Rate,
        Field(
            description="Items shown per connection: by `watch`, and again by an `auth`. The burst must be "
            "at least `items_a_connection`, so that a client that reconnects can watch all its items again."
        ),
    ] = Limits().ids
    reactions: Annotated[
        _Rate,
        Field(
            description="Reactions per visitor over all transports, and per connection. `GET` and `DELETE "
            "/v1/me` count as ten."
        ),
    ] = Limits().reactions
    new_items: Annotated[
        _Rate,
        Field(
            description="New items, created by a first reaction, on the whole site. Set `items` to restrict "
            "which items clients can create."
        ),
    ] = Limits().new_items

    @model_validator(mode="after")
    def _check(self) -> "LimitsForm":
        if self.ids.burst < self.items_a_connection:
            raise ValueError(
                "the burst of ids must be at least items_a_connection: "
                "a client that reconnects watches all its items again"
            )
        # A client that reconnects sends auth first, then watch.
        if self.messages.burst < AUTH_COST + self.items_a_connection / self.items_a_message:
            raise ValueError(
                f"the burst of messages must be at least {AUTH_COST} + items_a_connection / items_a_message"
            )
        return self


class SiteForm(_Form):
    """A site."""

    # No default: a site must say which origins may use it.
    origins: Annotated[
        list[Annotated[str, AfterValidator(_origin)]],
        Field(
            min_length=1,
            description="Origins of the pages that may use the site: scheme, host and port as browsers send "
            "them, in lower case and without a default port, such as `https://blog.example`. "
            "`https://*.blog.example` matches one level of subdomains, not `https://blog.example` itself. "
            "`*` matches every page. `null` (sandboxed frames, local files) must be listed even beside `*`. "
            "Requests without an Origin header do not come from pages and are accepted.",
        ),
        AfterValidator(_distinct),
    ]
    kinds: Annotated[
        list[Annotated[str, AfterValidator(_kind)]],
        Field(
            min_length=1,
            max_length=MAX_KINDS,
            description="Kinds of reactions: 1 to 12 names of 1 to 64 bytes, in the order shown.",
        ),
        AfterValidator(_distinct),
    ] = list(DEFAULT_KINDS)
    anonymous: Annotated[
        bool,
        Field(
            description="Whether visitors without a token of yours may react, with an id that this server "
            "issues. Otherwise they are refused with `forbidden`."
        ),
    ] = True
    items: Annotated[
        Annotated[str, AfterValidator(ItemPattern)] | None,
        Field(
            description="[Regular expression](https://github.com/google/re2/wiki/Syntax) that item ids must "
            "match as a whole; others are refused with `bad_item`. See [Patterns](#patterns)."
        ),
    ] = None
    admin_keys: Annotated[
        list[Annotated[str, AfterValidator(_admin_key)]],
        Field(
            description="`sha256:` and the hex digits of the SHA-256 of each key for the "
            "[admin API](admin.md). Without a key, the site has no admin API."
        ),
    ] = []
    tokens: Annotated[
        list[TokenForm],
        Field(
            max_length=MAX_TOKENS,
            description="Keys of the site's own tokens: see [Keys of tokens](#keys-of-tokens).",
        ),
    ] = []
    limits: Annotated[LimitsForm, Field(description="See [Limits](#limits).")] = LimitsForm()

    def site(self, name: str) -> Site:
        """The site that is described."""
        # The annotations are of what is written; validators have converted it.
        items: Any = self.items
        admin_keys: Any = self.admin_keys
        return Site(
            name=name,
            kinds=tuple(self.kinds),
            origins=frozenset(self.origins),
            keys=tuple(token.key() for token in self.tokens),
            anonymous=self.anonymous,
            items=items,
            admin_keys=frozenset(admin_keys),
            limits=Limits(**dict(self.limits)),
        )


class SitesForm(_Form):
    """The whole file."""

    sites: Annotated[
        dict[Annotated[str, Field(pattern=rf"^{SITE_NAME}$")], SiteForm],
        Field(min_length=1, max_length=10_000),
    ]


# By the name of their table in the documentation.
FORMS: dict[str, type[BaseModel]] = {"sites": SiteForm, "limits": LimitsForm, "tokens": TokenForm}


def default_text(field: FieldInfo) -> str:
    """The default of a key as it is written in the file; empty: there is none."""
    if field.is_required():
        return "required"
    if field.default is None or isinstance(field.default, _Form):
        return ""
    return f"`{json.dumps(field.default, default=str)}`"


def _public_key(text: str, algorithm: str) -> Any:
    try:
        key = load_pem_public_key(text.encode(errors="replace"))
    except (ValueError, UnsupportedAlgorithm):
        if "PRIVATE KEY" in text:
            raise ValueError("this is a private key: keep it secret, and put its public key here") from None
        raise ValueError("public_key is not a public key in PEM form") from None
    check_key(key, algorithm)
    return key
