"""Visitor ids as operators write them: ``u:`` and a user's id, or an anonymous ``a:…``.

Does not depend on how visitors are stored.
"""

from tallycast.contract.errors import BadMessage
from tallycast.domain.tokens import ANONYMOUS_ID, SUBJECT_BYTES, is_subject


def check_visitor(visitor: object) -> str:
    """Return ``visitor`` when it is a visitor id.

    Raises:
        BadMessage: it is not.
    """
    if isinstance(visitor, str):
        kind, _, subject = visitor.partition(":")
        if kind == "u" and is_subject(subject):
            return visitor
        if ANONYMOUS_ID.fullmatch(visitor):
            return visitor
    raise BadMessage(f"a visitor is u: and your user's id (1 to {SUBJECT_BYTES} bytes), or an anonymous a:…")
