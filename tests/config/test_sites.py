"""The sites file: what it may say, and the one line that a mistake in it gets."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from pydantic import BaseModel
from tallycast.config import sites as sites_file
from tallycast.config.errors import SettingsError
from tallycast.config.sites_schema import FORMS
from tallycast.domain.limits import Limits
from tallycast.domain.sites import DEFAULT_KINDS
from tallycast.domain.tokens import Claims, Key, KeySet

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "tallycast.example.toml").read_text()
SECRET = "s" * 32


def pem(key: object) -> str:
    """The public half of a private key, as text."""
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey)
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def refused(text: str) -> str:
    """The line that is said, without the name of the file."""
    with pytest.raises(SettingsError) as caught:
        sites_file.parse(text, "tallycast.toml")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("tallycast.toml")
    return line.removeprefix("tallycast.toml").removeprefix(", ").removeprefix(": ")


def site(text: str, key: str = 'origins = ["*"]') -> str:
    return f"[sites.a]\n{key}\n{text}"


def test_the_example_is_right() -> None:
    sites = sites_file.parse(EXAMPLE, "tallycast.example.toml")
    assert sites.keys() == {"default", "blog"}
    blog = sites["blog"]
    assert blog.allows("https://www.blog.example")
    assert [key.algorithm for key in blog.keys] == ["HS256", "EdDSA"]
    assert blog.items is not None
    assert blog.items.matches("posts/42")


def test_the_example_is_right_with_all_that_is_commented_out() -> None:
    """A comment that looks like TOML is TOML."""
    lines = [
        line.removeprefix("# ") if "=" in line or "[[" in line else line for line in EXAMPLE.splitlines()
    ]
    lines = [line for line in lines if not line.startswith(("  openssl", "    tallycast", "kill"))]
    sites = sites_file.parse("\n".join(lines), "the example")
    blog = sites["blog"]
    assert (blog.kinds, blog.anonymous, blog.limits) == (DEFAULT_KINDS, True, Limits())
    claims = Claims("https://api.blog.example", "user_id")
    assert blog.keys[-1] == KeySet("RS256", "https://accounts.blog.example/.well-known/jwks.json", claims)
    assert blog.admin_keys == {bytes(32)}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_example_shows_every_key(form: type[BaseModel]) -> None:
    for name in form.model_fields:
        assert name in EXAMPLE


def test_without_a_file_one_site_takes_everybody() -> None:
    sites = sites_file.sites(None, "none")
    assert sites.keys() == {"default"}
    assert sites["default"].allows("https://anywhere.example")


def test_a_site_with_everything() -> None:
    keys = [
        ("RS256", rsa.generate_private_key(65537, 2048)),
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ]
    text = site('kinds = ["👍", "no"]\nanonymous = false\n')
    for algorithm, key in keys:
        text += f'[[sites.a.tokens]]\nalgorithm = "{algorithm}"\npublic_key = """\n{pem(key)}"""\n'
    text += f'[[sites.a.tokens]]\nalgorithm = "HS256"\nkid = "k"\nsecret = "{SECRET}"\n'
    one = sites_file.parse(text, "x")["a"]
    assert (one.name, one.kinds, one.anonymous) == ("a", ("👍", "no"), False)
    assert [key.algorithm for key in one.keys] == ["RS256", "ES256", "EdDSA", "HS256"]
    assert one.keys[3] == Key("HS256", SECRET, "k")
    assert SECRET not in repr(one)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "sites: is missing"),
        ("sites = 3", "line 1: sites: input should be a valid dictionary"),
        ("[sites]", "line 1: sites: dictionary should have at least 1 item, not 0"),
        ("\n[sites.a\n", "line 2: expected ']' at the end of a table declaration"),
        ('[sites.a]\nkinds = "', "line 2: unterminated string"),
        ("\n# a comment\n[sites.a]\n", "line 3: sites.a.origins: is missing"),
        ('[sites."a:b"]\norigins = ["*"]', "line 1: sites.a:b: the name of a site has letters"),
        ('[sites.a]\norigin = ["*"]', "line 2: sites.a.origin: unknown key"),
        (site('[sites.a.tokens]\nsecret = "x"'), "line 3: sites.a.tokens: input should be a valid list"),
        (site("anonymous = 1"), "line 3: sites.a.anonymous: input should be a valid boolean"),
        (site('items = "("'), "line 3: sites.a.items: not a regular expression of RE2: missing ): ("),
        (site("items = '(?=a)b'"), "line 3: sites.a.items: not a regular expression of RE2: invalid perl"),
        (site("kinds = []"), "line 3: sites.a.kinds: list should have at least 1 item, not 0"),
        (
            site(f"kinds = {[str(i) for i in range(13)]}"),
            "line 3: sites.a.kinds: list should have at most 12",
        ),
        (site('\n\nkinds = [\n  "a",\n  "a",\n]'), "line 5: sites.a.kinds: 'a' is listed twice"),
        (site('kinds = [""]'), "line 3: sites.a.kinds[1]: '' is not the name of a reaction"),
        (
            site('admin_keys = ["geheim"]'),
            "line 3: sites.a.admin_keys[1]: expected sha256: and the 64 hex",
        ),
        (site("[sites.a.limits]\nitems_a_message = 101"), "line 4: sites.a.limits.items_a_message: input"),
        (site("[sites.a.limits]\nmore = 1"), "line 4: sites.a.limits.more: unknown key"),
        (site(f"\nx = [\n{'[' * 3000}{']' * 3000}\n]\n"), "line 5: a number too long, or nested too deep"),
        (site(f"[sites.a.limits]\nitems_a_message = {'9' * 5000}\n"), "line 4: a number too long, or nested"),
    ],
)
def test_mistakes(text: str, line: str) -> None:
    assert refused(text).startswith(line)


@pytest.mark.parametrize(
    "origin",
    [
        "https://a.example",
        "http://[::1]:8000",
        "null",
        "*",
        "app://x",
        "https://*.a.example:8443",
        "http://127.0.0.1",
        "https://xn--bcher-kva.example",
    ],
)
def test_origins(origin: str) -> None:
    assert sites_file.parse(site("", f"origins = ['{origin}']"), "x")["a"].origins == {origin}


@pytest.mark.parametrize(
    "origin",
    ["", "a.example", "https://", "https://a.example/", "https://a.example/x", "HTTPS://a.example", "https://A.example",
     "https://a.example:443", "http://a.example:80", "https://a.example:99999", "https://a.example:", "https://u@a.example",
     "https://*", "https://*.*.example", "https://a.*.example", "https://*a.example", "https://bücher.example",
     "https://a.example?x", "https://a.example#x", "**", "https://a b"],
)  # fmt: skip
def test_what_is_not_an_origin(origin: str) -> None:
    assert refused(site("", f"origins = ['{origin}']")).startswith(
        f"line 2: sites.a.origins[1]: {origin!r} is not an origin: "
    )


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ({"algorithm": "none"}, ".algorithm: input should be 'HS256', 'RS256', 'ES256' or 'EdDSA'"),
        ({"secret": SECRET}, ".algorithm: is missing"),
        ({"algorithm": "HS256"}, ": HS256 needs secret, and nothing else"),
        ({"algorithm": "HS256", "secret": "geheim"}, ": a secret has at least 32 bytes"),
        ({"algorithm": "HS256", "secret": SECRET, "jwks": "https://x"}, ": HS256 needs secret, and"),
        ({"algorithm": "RS256", "secret": SECRET}, ": RS256 needs public_key or jwks, and nothing else"),
        ({"algorithm": "RS256", "public_key": "geheim"}, ": public_key is not a public key in PEM form"),
        ({"algorithm": "RS256", "jwks": "http://x.example/k"}, ".jwks: expected an https:// URL"),
        ({"algorithm": "RS256", "jwks": "file:///etc/passwd"}, ".jwks: expected an https:// URL"),
        ({"algorithm": "RS256", "jwks": "https://u:geheim@x"}, ".jwks: expected an https:// URL"),
        ({"algorithm": "RS256", "jwks": "https://x/a/../k"}, ".jwks: expected an https:// URL"),
        ({"algorithm": "RS256", "jwks": "https://x/k#1"}, ".jwks: expected an https:// URL"),
        ({"algorithm": "RS256", "jwks": "https://x/k", "kid": "1"}, ": the keys of a key set have ids"),
        (
            {"algorithm": "RS256", "public_key": pem(rsa.generate_private_key(65537, 1024))},
            ": an RSA key has at least 2048 bits",
        ),
        (
            {"algorithm": "RS256", "public_key": pem(ed25519.Ed25519PrivateKey.generate())},
            ": the key is not for RS256",
        ),
        (
            {"algorithm": "ES256", "public_key": pem(ec.generate_private_key(ec.SECP384R1()))},
            ": the key is not for ES256",
        ),
        ({"algorithm": "HS256", "secret": SECRET, "audience": ""}, ".audience: an audience has 1 to 1024"),
        ({"algorithm": "HS256", "secret": SECRET, "audience": "a\tb"}, ".audience: an audience has 1 to"),
        ({"algorithm": "HS256", "secret": SECRET, "subject": ""}, ".subject: the name of a claim has 1 to"),
        ({"algorithm": "HS256", "secret": SECRET, "subject": "iss"}, ".subject: 'iss' is not a claim that"),
    ],
)  # fmt: skip
def test_keys_that_will_not_do(token: dict[str, str], reason: str) -> None:
    fields = "\n".join(f"{name} = '''{value}'''" for name, value in token.items())
    said = refused(
        site(f"[[sites.a.tokens]]\nalgorithm = 'HS256'\nsecret = '{SECRET}'\n[[sites.a.tokens]]\n{fields}")
    )
    place, _, rest = said.partition(": ")
    assert place in ("line 6", "line 7", "line 8", "line 9")
    assert rest.startswith(f"sites.a.tokens[2]{reason}")
    assert "geheim" not in said
    assert SECRET not in said


def test_a_private_key_is_said_to_be_one() -> None:
    private = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    text = site(f"[[sites.a.tokens]]\nalgorithm = 'EdDSA'\npublic_key = '''{private.decode()}'''")
    assert "this is a private key" in refused(text)


def test_the_line_is_found_in_a_large_file() -> None:
    many = "".join(f'[sites.s{i}]\n# [sites.wrong]\norigins = [\n  "*",\n]\n\n' for i in range(300))
    wrong = many.replace("[sites.s250]", "[sites.s250]\nwrong = 1")
    line = wrong.splitlines().index("wrong = 1") + 1
    assert refused(wrong) == f"line {line}: sites.s250.wrong: unknown key"


def test_a_line_that_costs_too_much_is_not_looked_for() -> None:
    """One statement of very many lines, which no part of is a file."""
    origins = "".join(f'  "https://s{i}.example",\n' for i in range(8_000))
    wrong = f"[sites.a]\norigins = [\n{origins}]\nwrong = 1\n"
    assert refused(wrong) == "sites.a.wrong: unknown key"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "tallycast.toml"
    with pytest.raises(SettingsError, match=r"tallycast\.toml: no such file or directory"):
        sites_file.read(file)
    file.write_bytes(b"# fine\n# \xff\n")
    with pytest.raises(SettingsError, match=r"tallycast\.toml, line 2: not UTF-8"):
        sites_file.read(file)
    file.write_bytes(b"#" * (sites_file.MAX_SIZE + 1))
    with pytest.raises(SettingsError, match="larger than"):
        sites_file.read(file)
    with pytest.raises(SettingsError, match="is a directory"):
        sites_file.read(tmp_path)
