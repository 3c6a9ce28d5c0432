"""What the tests look for in the text of compiled programs."""

import re

COLLECTIVES = re.compile(
    r"\b(all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("
)
