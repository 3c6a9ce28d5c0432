"""Errors the user can mend: one line on stderr, exit code 2, nothing written."""

import difflib
from collections.abc import Iterable


class Refused(Exception):
    """Says what is wrong, what was found, and what to do instead, in one line."""


def hint(name: str, known: Iterable[str]) -> str:
    """Ends an error about an unknown name: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(known) or 'none'}"
