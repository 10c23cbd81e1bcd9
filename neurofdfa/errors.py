"""The errors that a user of `neurofdfa` has to know."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Input that cannot be used; the message is one line that says what is wrong and what to do."""


class Diverged(UserError):
    """A loss, gradient or weight is no longer finite: the message says which, and what to do."""


def unknown(what: str, given: str, known: Iterable[str], more: str = "") -> UserError:
    """The error for a name that is none of `known`: the nearest ones, then all. more: what else would do."""
    names = list(known)
    near = difflib.get_close_matches(given, names, n=2, cutoff=0.7)
    asked = f"did you mean {' or '.join(near)}? " if near else ""
    return UserError(f"unknown {what} '{given}': {asked}choose one of {', '.join(names)}{more}")
