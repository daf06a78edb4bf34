"""``tallycast.toml``: the sites of a server, as their operator writes them down.

Owns the form of the file, its checks and the words for what is wrong: one line with the place in the file and
the reason, and never the value of a secret. Must not know who serves the sites, nor when the file is read.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
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
    ValidationError,
    model_validator,
)

from tallycast.contract.errors import SettingsError
from tallycast.domain.keys import SECRET_BYTES, check_key
from tallycast.domain.limits import AUTH_COSTS, Limits
from tallycast.domain.patterns import ItemPattern
from tallycast.domain.rates import Rate, rate
from tallycast.domain.sites import ANY, DEFAULT_KINDS, DEFAULT_SITE, MAX_KINDS, SITE_NAME, Site
from tallycast.domain.tokens import Claims, Key, KeySet

MOST_KEYS = 8
LARGEST = 1024 * 1024
# So much (bytes) is read again at most to find the line of a mistake: some seconds' worth.
EFFORT = 8 * LARGEST

_DEFAULT_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_SHA256 = re.compile(r"sha256:([0-9a-f]{64})")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
# Claims of RFC 7519 and OpenID Connect that are of the token, not of the user.
_NO_SUBJECTS = ("aud", "auth_time", "azp", "exp", "iat", "iss", "jti", "nbf", "nonce")
# pydantic's word for it -> ours.
_REASONS = {"extra_forbidden": "there is no such key", "missing": "is missing"}


def parse(text: str, name: str) -> dict[str, Site]:
    """The sites in ``text``, by their names; ``name`` is what errors call the file.

    Raises:
        SettingsError: something is wrong in it; one line.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(_syntax(error, text, name)) from None
    except (ValueError, RecursionError):
        raise SettingsError(f"{name}, line {_beyond(text)}: a number too long, or nested too deep") from None
    try:
        file = _File.model_validate(raw, strict=True)
    except ValidationError as error:
        # A key that does not exist is often another one misspelt, which then is missing.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        path = tuple(part for part in first["loc"] if part != "[key]")
        raise SettingsError(_one_line(text, name, path, _reason(first))) from None
    return {site: _site(site, form) for site, form in file.sites.items()}


def sites(text: str | None, name: str) -> dict[str, Site]:
    """The sites in ``text``; without a file, the one that is served then, for every origin.

    Raises:
        SettingsError: something is wrong in it; one line.
    """
    return {DEFAULT_SITE: Site()} if text is None else parse(text, name)


def read(path: Path) -> str:
    """The text of the file.

    Raises:
        SettingsError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise SettingsError(f"{path}: larger than {LARGEST // 1024} KiB")
        return data.decode()
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise SettingsError(f"{path}, line {line}: not UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{path}: {(error.strerror or str(error)).lower()}") from None


# The form of the file. A function that is a validator raises ValueError with the reason.


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
        raise ValueError(f"{wrong}nothing follows host and port, no / either")
    if origin != origin.lower():
        raise ValueError(f"{wrong}browsers send it in lower case")
    if port is not None and port == _DEFAULT_PORTS.get(parts.scheme):
        raise ValueError(f"{wrong}browsers leave out port {port} with {parts.scheme}")
    if origin != f"{parts.scheme}://{parts.netloc}" or parts.netloc.endswith(":"):
        raise ValueError(f"{wrong}expected one like {example}")
    return origin


def _admin_key(text: str) -> bytes:
    found = _SHA256.fullmatch(text)
    if found is None:
        raise ValueError("an admin key is written as sha256: and the 64 hex digits of its SHA-256")
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
    # Whoever could change it on its way could sign for everybody.
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
            raise ValueError(f"{value!r} is there twice")
    return values


def _rate(text: Any) -> Rate:
    if not isinstance(text, str):
        raise ValueError("expected a rate in quotes, like '10/s burst 20'")
    return rate(text)


class _Form(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )


class _Token(_Form):
    algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"]
    secret: str | None = None
    public_key: str | None = None
    jwks: Annotated[str, AfterValidator(_key_set_url)] | None = None
    kid: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    audience: Annotated[str, AfterValidator(_audience)] | None = None
    subject: Annotated[str, AfterValidator(_subject)] = Claims().subject

    @model_validator(mode="after")
    def _fits(self) -> "_Token":
        wanted = ("secret",) if self.algorithm == "HS256" else ("public_key", "jwks")
        given = [name for name in ("secret", "public_key", "jwks") if getattr(self, name) is not None]
        if len(given) != 1 or given[0] not in wanted:
            raise ValueError(f"{self.algorithm} needs {' or '.join(wanted)}, and nothing else")
        if self.jwks is not None and self.kid is not None:
            raise ValueError("the keys of a key set have ids of their own: leave out kid")
        self.key()
        return self

    def key(self) -> Key | KeySet:
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


class _Limits(_Form):
    items_a_message: Annotated[int, Field(ge=1, le=100)] = Limits().items_a_message
    items_a_connection: Annotated[int, Field(ge=1, le=100_000)] = Limits().items_a_connection
    messages: _Rate = Limits().messages
    ids: _Rate = Limits().ids
    reactions: _Rate = Limits().reactions
    new_items: _Rate = Limits().new_items

    @model_validator(mode="after")
    def _fits(self) -> "_Limits":
        if self.ids.burst < self.items_a_connection:
            raise ValueError(
                "the burst of ids must be at least items_a_connection: who comes back watches again"
            )
        # Who comes back signs in, and then watches.
        if self.messages.burst < AUTH_COSTS + self.items_a_connection / self.items_a_message:
            raise ValueError(
                f"the burst of messages must be at least {AUTH_COSTS} + items_a_connection / items_a_message"
            )
        return self


class _Site(_Form):
    # Never by default: who may use a site is said, or nobody may.
    origins: Annotated[
        list[Annotated[str, AfterValidator(_origin)]], Field(min_length=1), AfterValidator(_distinct)
    ]
    kinds: Annotated[
        list[Annotated[str, AfterValidator(_kind)]],
        Field(min_length=1, max_length=MAX_KINDS),
        AfterValidator(_distinct),
    ] = list(DEFAULT_KINDS)
    anonymous: bool = True
    items: Annotated[str, AfterValidator(ItemPattern)] | None = None
    admin_keys: list[Annotated[str, AfterValidator(_admin_key)]] = []
    tokens: Annotated[list[_Token], Field(max_length=MOST_KEYS)] = []
    limits: _Limits = _Limits()


class _File(_Form):
    sites: Annotated[
        dict[Annotated[str, Field(pattern=rf"^{SITE_NAME}$")], _Site], Field(min_length=1, max_length=10_000)
    ]


def _site(name: str, form: _Site) -> Site:
    # The annotations say what was written; a validator has made what is meant of it.
    items: Any = form.items
    admin_keys: Any = form.admin_keys
    return Site(
        name=name,
        kinds=tuple(form.kinds),
        origins=frozenset(form.origins),
        keys=tuple(token.key() for token in form.tokens),
        anonymous=form.anonymous,
        items=items,
        admin_keys=frozenset(admin_keys),
        limits=Limits(**dict(form.limits)),
    )


def _public_key(text: str, algorithm: str) -> Any:
    try:
        key = load_pem_public_key(text.encode(errors="replace"))
    except (ValueError, UnsupportedAlgorithm):
        if "PRIVATE KEY" in text:
            raise ValueError(
                "this is a private key: keep that to yourself, put its public key here"
            ) from None
        raise ValueError("public_key is not a public key in PEM form") from None
    check_key(key, algorithm)
    return key


# Where it is, and what is wrong


def _reason(error: Mapping[str, Any]) -> str:
    if error["type"] in _REASONS:
        return _REASONS[error["type"]]
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "string_pattern_mismatch":
        return "the name of a site has letters, digits, '.', '_' and '-' only, at most 64"
    text = str(error["msg"]).replace(" after validation", "")
    return text[0].lower() + text[1:]


def _syntax(error: tomllib.TOMLDecodeError, text: str, name: str) -> str:
    found = re.fullmatch(r"(.*) \(at (?:line (\d+), column \d+|end of document)\)", str(error), re.DOTALL)
    if found is None:
        return f"{name}: {error}"
    line = found[2] or str(text.count("\n") + 1)
    return f"{name}, line {line}: {found[1][0].lower()}{found[1][1:]}"


def _beyond(text: str) -> int:
    """The line with what is well-formed, but more than tomllib can take: that says of no place."""
    lines = text.split("\n")
    below, at = 0, len(lines)
    while at - below > 1:
        middle = (below + at) // 2
        try:
            tomllib.loads("\n".join(lines[:middle]))
            below = middle
        except tomllib.TOMLDecodeError:
            below = middle
        except (ValueError, RecursionError):
            at = middle
    return at


def _one_line(text: str, name: str, path: tuple[str | int, ...], reason: str) -> str:
    """``path`` leads to the value that is wrong, or to where one is missing."""
    shown = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path)[1:]
    line = None
    while path and (line := _line(text, path)) is None:
        path = path[:-1]
    place = f"{name}, line {line}" if path and line else name
    return f"{place}: {shown}: {reason}"


def _line(text: str, path: tuple[str | int, ...]) -> int | None:
    """The line on which the statement that sets ``path`` begins, ``None`` when nothing does, 0: not found.

    tomllib tells no places. But the beginning of a file up to the end of a statement is a file too, and so
    the first line without which nothing is at ``path`` is found by halving.
    """
    lines = text.split("\n")
    effort = EFFORT

    def is_set(many: int) -> bool:
        nonlocal effort
        while True:
            effort -= sum(map(len, lines[:many]))
            try:
                return _has(tomllib.loads("\n".join(lines[:many])), path)
            except tomllib.TOMLDecodeError:
                # In the middle of a statement: whatever it sets begins before here.
                many = len(lines) if effort < 0 else many + 1

    if not is_set(len(lines)):
        return None
    below, at = 0, len(lines)
    while at - below > 1:
        if effort < 0:
            return 0
        middle = (below + at) // 2
        below, at = (below, middle) if is_set(middle) else (middle, at)
    return at


def _has(value: Any, path: tuple[str | int, ...]) -> bool:
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return False
    return True
