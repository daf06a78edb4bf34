"""Query strings (WHATWG URL, application/x-www-form-urlencoded), strictly decoded.

Item ids travel in the query, percent-encoded UTF-8 with ``+`` for a space. The usual decoders put replacement
characters where the bytes are not UTF-8, which would make different ids one.
"""

from urllib.parse import parse_qsl

from server.errors import BadItem, UnknownSite
from server.rules.sites import DEFAULT_SITE

MAX_FIELDS = 1000


class Query:
    """The ``site`` and the ``item``s of a request."""

    __slots__ = ("_items", "_site")

    def __init__(self, raw: bytes) -> None:
        self._site: str | None = DEFAULT_SITE
        self._items: list[str] | None = []
        # A value that is not UTF-8 decodes to lone surrogates: no site has such a name, no item such an id.
        try:
            pairs = parse_qsl(
                raw.decode("utf-8", "surrogateescape"),
                keep_blank_values=True,
                errors="surrogateescape",
                max_num_fields=MAX_FIELDS,
            )
        except ValueError:
            self._items = None
            return
        self._items = [value for name, value in pairs if name == "item"]
        sites = [value for name, value in pairs if name == "site"]
        if sites:
            self._site = sites[0] if len(sites) == 1 else None

    @property
    def site(self) -> str:
        """The site's name; the default one where none is given.

        Raises:
            UnknownSite: several are given.
        """
        if self._site is None:
            raise UnknownSite("one site a request")
        return self._site

    @property
    def items(self) -> list[str]:
        """The item ids as given, not yet checked.

        Raises:
            BadItem: more fields than any request needs.
        """
        if self._items is None:
            raise BadItem("too many fields in the query")
        return self._items

    @property
    def item(self) -> str:
        """The one item id given.

        Raises:
            BadItem: none is, or several are.
        """
        if len(self.items) != 1:
            raise BadItem("exactly one item is needed")
        return self.items[0]
