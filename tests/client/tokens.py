"""Tokens of new visitors, and the header that they travel in."""

import httpx

VISITORS = "/v1/visitors"


def bearer(token: str) -> dict[str, str]:
    """The header of a request with a token."""
    return {"Authorization": f"Bearer {token}"}


async def visitor_token(http: httpx.AsyncClient, site: str = "default") -> str:
    """A new visitor's; ``http`` has the server's URL as its base."""
    answer = await http.post(VISITORS, params={"site": site})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])


def visitor_token_blocking(url: str, site: str = "default") -> str:
    """A new visitor's, from the server at a URL."""
    answer = httpx.post(url + VISITORS, params={"site": site}, timeout=30)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["token"])
