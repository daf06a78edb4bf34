"""Query strings (WHATWG URL, application/x-www-form-urlencoded), strictly decoded.

Item ids travel in the query, percent-encoded UTF-8 with ``+`` for a space. The usual decoders put replacement
characters where the bytes are not UTF-8, which would make different ids one.
"""

from urllib.parse import parse_qsl

from tallycast.contract.errors import BadItem, UnknownSite
from tallycast.domain.sites import DEFAULT_SITE

MAX_FIELDS = 1000


class Query:
    """The ``site`` and the ``items`` of a request; ids as given, not yet checked."""

    __slots__ = ("_sites", "items")

    def __init__(self, raw: bytes) -> None:
        """Decode a query string.

        Raises:
            BadItem: more fields than any request needs.
        """
        # A value that is not UTF-8 decodes to lone surrogates: no site has such a name, no item such an id.
        try:
            pairs = parse_qsl(
                raw.decode("utf-8", "surrogateescape"),
                keep_blank_values=True,
                errors="surrogateescape",
                max_num_fields=MAX_FIELDS,
            )
        except ValueError:
            raise BadItem("too many fields in the query") from None
        self.items = [value for name, value in pairs if name == "item"]
        self._sites = [value for name, value in pairs if name == "site"]

    @property
    def site(self) -> str:
        """The site's name; the default one where none is given.

        Raises:
            UnknownSite: several are given.
        """
        if len(self._sites) > 1:
            raise UnknownSite("one site a request")
        return self._sites[0] if self._sites else DEFAULT_SITE

    @property
    def item(self) -> str:
        """The one item id given.

        Raises:
            BadItem: none is, or several are.
        """
        if len(self.items) != 1:
            raise BadItem("exactly one item is needed")
        return self.items[0]
