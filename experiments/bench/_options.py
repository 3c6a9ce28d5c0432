"""The numbers that benchmarks take: one that cannot be measured is refused before anything is."""

import argparse
import math
from collections.abc import Callable


def at_least(least: int) -> Callable[[str], int]:
    """Reads an integer from ``least`` up."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            wanted = f"an integer from {least} up"
            raise argparse.ArgumentTypeError(f"got {text!r}; expected {wanted}")
        return number

    return read


def between(low: float, high: float) -> Callable[[str], float]:
    """Reads a number inside ``(low, high)``."""

    def read(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not low < number < high:
            wanted = f"a number in ({low:g}, {high:g})"
            raise argparse.ArgumentTypeError(f"got {text!r}; expected {wanted}")
        return number

    return read


count = at_least(1)
fraction = between(0, 1)
positive = between(0, math.inf)
