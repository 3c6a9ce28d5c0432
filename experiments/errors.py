"""Errors the user can mend: one line on stderr, exit code 2, nothing written."""

# what a user types before a command: the console script of the installed package, or the folder
PROGRAM = "python -m experiments" if __package__ == "experiments" else "jaxforget"


class Refused(Exception):
    """Says what is wrong, what was given, and what to do instead, in one line."""
