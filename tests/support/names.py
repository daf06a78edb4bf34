"""The names of a deployment without a prefix, on database 0: what tests use unless they are about names."""

from tallycast.engine.keys import Namespace

NAMES = Namespace()
