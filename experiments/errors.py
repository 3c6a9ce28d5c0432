"""Errors the user can mend: one line on stderr, exit code 2, nothing written."""

# what a user types before a command: the console script of the installed package, or the folder
PROGRAM = "python -m experiments" if __package__ == "experiments" else "jaxforget"


LONGEST = 400  # characters of an error: what a terminal shows without hiding the key it begins with


class Refused(Exception):
    """Says what is wrong, what was given, and what to do instead, in one line.

    What was given may be anything: characters that cannot be printed are spelt out, and of a line
    that is too long the middle is left out.
    """

    def __init__(self, text: str):
        line = " ".join(text.split())
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        if len(line) >= LONGEST:
            half = (LONGEST - 4) // 2
            line = f"{line[:half]}...{line[-half:]}"
        super().__init__(line)
