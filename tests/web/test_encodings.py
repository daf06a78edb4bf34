"""Accept-Encoding as RFC 9110 has it, and as it is broken."""

import pytest
from tallycast.api.negotiation import choose

OFFERED = ("br", "gzip", "identity")


@pytest.mark.parametrize(
    ("headers", "chosen"),
    [
        ([], "identity"),
        ([""], "identity"),
        (["gzip, deflate, br, zstd"], "br"),
        (["gzip, deflate"], "gzip"),
        (["GZIP"], "gzip"),
        (["br;q=0.5, gzip;q=0.8"], "gzip"),
        (["br;q=0.5, gzip;q=0.50"], "br"),
        (["br ; q=0.1,gzip ;Q=0.2"], "gzip"),
        (["br;q=0, gzip;q=0"], "identity"),
        (["br;q=0"], "identity"),
        (["identity"], "identity"),
        (["identity, gzip;q=0.9"], "identity"),
        (["gzip;q=0.001"], "gzip"),
        (["*"], "br"),
        (["*;q=0.5, br;q=0.1"], "gzip"),
        (["br;q=0, *"], "gzip"),
        (["identity;q=0"], "identity"),
        (["*;q=0"], "identity"),
        (["identity;q=0, gzip;q=0.1"], "gzip"),
        (["gzip", "br"], "br"),
        (["compress", "zstd"], "identity"),
        (["br;q=2"], "identity"),
        (["br;q=x, gzip"], "gzip"),
        (["br;level=9, gzip;q=0.5"], "gzip"),
        ([",,;q=1,\x00, gzip"], "gzip"),
        (["br" * 4000], "identity"),
    ],
)
def test_what_suits_the_client_best(headers: list[str], chosen: str) -> None:
    assert choose(headers, OFFERED) == chosen
