"""What browsers load: the embed script in every encoding and under both names, and the demo pages."""

import gzip
import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urljoin

import brotli
import httpx
import pytest
from tallycast.api.embed import STATIC, installed
from tallycast.api.pages import DEMO
from tallycast.config.settings import load

from tests.conftest import MakeServer
from tests.support.process import ServerProcess

SCRIPT = installed()
NAMES = ("/embed.js", f"/{SCRIPT.pinned_name}")
DECODERS = {"br": brotli.decompress, "gzip": gzip.decompress, "identity": bytes}
names = pytest.mark.parametrize("name", NAMES, ids=["latest", "pinned"])


@pytest.fixture
async def http(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, headers={"Accept-Encoding": "identity"}) as client:
        yield client


async def raw(
    http: httpx.AsyncClient, method: str, path: str, **headers: str
) -> tuple[httpx.Response, bytes]:
    """An answer and its body as it came, not decoded."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.stream(method, path, headers=headers) as answer:
        return answer, b"".join([part async for part in answer.aiter_raw()])


@names
@pytest.mark.parametrize("coding", DECODERS)
async def test_the_script_in_every_encoding(http: httpx.AsyncClient, name: str, coding: str) -> None:
    answer, body = await raw(http, "GET", name, Accept_Encoding=coding)
    assert answer.status_code == 200
    assert answer.headers.get("content-encoding", "identity") == coding
    assert DECODERS[coding](body) == SCRIPT.text
    assert int(answer.headers["content-length"]) == len(body)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["vary"] == "Accept-Encoding"
    # Any page may load it, with its integrity checked (crossorigin) and isolated ones too.
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"


async def test_weights_are_heeded(http: httpx.AsyncClient) -> None:
    answer, _ = await raw(http, "GET", "/embed.js", Accept_Encoding="br;q=0.2, gzip;q=0.7, *;q=0")
    assert answer.headers["content-encoding"] == "gzip"


async def test_the_latest_is_asked_for_again_and_the_pinned_never(http: httpx.AsyncClient) -> None:
    latest, pinned = [(await http.get(name)).headers["cache-control"] for name in NAMES]
    assert re.fullmatch(r"public, max-age=300, stale-while-revalidate=\d+", latest)
    assert pinned == "public, max-age=31536000, immutable"


@names
@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_not_modified(http: httpx.AsyncClient, name: str, coding: str, method: str) -> None:
    first, _ = await raw(http, method, name, Accept_Encoding=coding)
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[^"]+"', etag), "a strong tag"
    for given in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again, body = await raw(http, method, name, Accept_Encoding=coding, If_None_Match=given)
        assert (again.status_code, body) == (304, b"")
        for header in ("etag", "cache-control", "vary", "access-control-allow-origin"):
            assert again.headers[header] == first.headers[header]
    changed, _ = await raw(http, method, name, Accept_Encoding=coding, If_None_Match='"other"')
    assert changed.status_code == 200


async def test_one_encodings_tag_is_not_anothers(http: httpx.AsyncClient) -> None:
    etag = (await raw(http, "HEAD", "/embed.js", Accept_Encoding="br"))[0].headers["etag"]
    answer, _ = await raw(http, "GET", "/embed.js", Accept_Encoding="gzip", If_None_Match=etag)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "digest", ["0" * 16, SCRIPT.digest[:-1], SCRIPT.digest + "0", SCRIPT.digest.upper(), "%2e"]
)
async def test_another_version_is_not_there(http: httpx.AsyncClient, digest: str) -> None:
    answer = await http.get(f"/embed.{digest}.js")
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/problem+json"


@names
async def test_the_script_is_only_read(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.post(name)
    assert answer.status_code == 405
    assert set(answer.headers["allow"].replace(" ", "").split(",")) == {"GET", "HEAD"}


@pytest.mark.parametrize(
    "path", [*NAMES, *DEMO, "/static/favicon.svg", "/openapi.json", "/livez", "/v1/items?item=head"]
)
async def test_head_is_get_without_a_body(http: httpx.AsyncClient, path: str) -> None:
    get, body = await raw(http, "GET", path)
    head, nothing = await raw(http, "HEAD", path)
    assert (get.status_code, head.status_code, nothing) == (200, 200, b"")
    assert body != b""
    ignored = {"date"}
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in get.headers.items() if k not in ignored
    }


@pytest.mark.parametrize("path", DEMO)
async def test_pages_have_a_strict_policy_and_load_nothing_from_elsewhere(
    http: httpx.AsyncClient, path: str
) -> None:
    answer = await http.get(path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "frame-ancestors 'none';" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", answer.text)
    loaded = re.findall(r'<(?:script|link|img)\b[^>]*?\s(?:src|href)="([^"]*)"', answer.text)
    assert loaded
    for address in loaded:
        # Relative: a proxy may serve the page below a path.
        assert not re.match(r"/|\w+:", address), address
        assert (await http.get(urljoin(path, address))).status_code == 200, address


@pytest.mark.parametrize("name", sorted(path.name for path in (STATIC / "pages").iterdir()))
async def test_what_pages_load_is_there_and_revalidated(http: httpx.AsyncClient, name: str) -> None:
    paths = [path for path, page in DEMO.items() if page == name] or [f"/static/{name}"]
    for path in paths:
        first = await http.get(path)
        assert first.status_code == 200
        assert first.content == (STATIC / "pages" / name).read_bytes()
        assert first.headers["cache-control"] == "no-cache"
        assert first.headers["x-content-type-options"] == "nosniff"
        again = await http.get(path, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")


@pytest.mark.parametrize(
    "path",
    [
        "/static/%2e%2e/embed.js",
        "/static/..%2fembed.js",
        "/static/",
        "/static/nothing",
        "/static/wall.html",
    ],
)
async def test_nothing_else_is_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


@pytest.mark.parametrize(
    "given", [{"flags": ["--no-demo"]}, {"env": {"TALLYCAST_DEMO": "off"}}], ids=["flag", "env"]
)
async def test_without_the_demo(make_server: MakeServer, given: dict[str, object]) -> None:
    server = make_server(limited=True, **given)
    assert "Demo page" not in server.output()
    async with httpx.AsyncClient(base_url=server.url) as http:
        for path in (*DEMO, "/static/favicon.svg"):
            assert (await http.get(path)).status_code == 404, path
        for path in (*NAMES, "/v1/items?item=a", "/readyz"):
            assert (await http.get(path)).status_code == 200, path


async def test_the_demo_is_served_without_a_sites_file(make_server: MakeServer, tmp_path: Path) -> None:
    """As the server itself decides: not said either way."""
    sites = tmp_path / "sites.toml"
    sites.write_text('[sites.default]\norigins = ["*"]\n')
    for flags, status in ([], 200), (["--config", str(sites)], 404):
        server = make_server(limited=True, folder=tmp_path / str(status), flags=flags)
        assert ("Demo page" in server.output()) == (status == 200)
        async with httpx.AsyncClient(base_url=server.url) as http:
            for path in (*DEMO, "/static/favicon.svg"):
                assert (await http.get(path)).status_code == status, path


@pytest.mark.parametrize(
    ("flags", "served"),
    [
        ({}, True),
        ({"config": "sites"}, False),
        ({"config": "sites", "demo": True}, True),
        ({"demo": False}, False),
    ],
)
def test_with_a_sites_file_the_demo_must_be_asked_for(flags: dict[str, object], served: bool) -> None:
    assert load(**flags).has_demo is served


def test_the_hash_is_of_the_file_that_is_served() -> None:
    file = Path(STATIC / "embed.js").read_bytes()
    assert hashlib.sha256(file).hexdigest().startswith(SCRIPT.digest)
