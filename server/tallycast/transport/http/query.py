"""Strict decoding of query strings (WHATWG URL, application/x-www-form-urlencoded).

Owns the parameters ``site`` and ``item``, percent-encoded UTF-8 with ``+`` for a space. Common decoders put
replacement characters where the bytes are not UTF-8, which would make different item ids equal. Does not
depend on any endpoint.
"""

from typing import Protocol
from urllib.parse import parse_qsl

from tallycast.contract.errors import BadItem, UnknownSite
from tallycast.domain.sites import DEFAULT_SITE, Site

MAX_FIELDS = 1000


class Sites(Protocol):
    """Finds sites, and checks origins; see ``access.guard.Guard``."""

    def site(self, name: str) -> Site:
        """The site with a name."""

    def check_origin(self, site: Site, origin: str | None) -> None:
        """Accept an Origin header."""


class Query:
    """The ``site`` and the ``items`` of a request, not yet validated."""

    __slots__ = ("_sites", "items")

    def __init__(self, raw: bytes) -> None:
        """Decode a query string.

        Raises:
            BadItem: more than ``MAX_FIELDS`` fields.
        """
        # A value that is not UTF-8 decodes to lone surrogates, which no site's name and no item id has.
        try:
            pairs = parse_qsl(
                raw.decode("utf-8", "surrogateescape"),
                keep_blank_values=True,
                errors="surrogateescape",
                max_num_fields=MAX_FIELDS,
            )
        except ValueError:
            raise BadItem(f"too many fields in the query; expected at most {MAX_FIELDS}") from None
        self.items = [value for name, value in pairs if name == "item"]
        self._sites = [value for name, value in pairs if name == "site"]

    @property
    def site(self) -> str:
        """The name of the site; the default one if the query has none.

        Raises:
            UnknownSite: the query has several.
        """
        if len(self._sites) > 1:
            raise UnknownSite("several sites in the query; expected at most one")
        return self._sites[0] if self._sites else DEFAULT_SITE

    @property
    def item(self) -> str:
        """The single item id.

        Raises:
            BadItem: the query has none, or several.
        """
        if len(self.items) != 1:
            raise BadItem(f"{len(self.items)} items in the query; expected exactly one")
        return self.items[0]
