"""The names of a deployment without a prefix, on database 0: what tests use unless they are about names."""

from server.ledger.keys import Namespace

NAMES = Namespace()
