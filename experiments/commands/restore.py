"""Makes cells from the tables of a config, so that a run goes on where the tables end.

A clone has the tables of results/ and not the cells that they were collected of. After this, run
computes what the tables lack, and collect adds it. A cell that has a file stays as it is. Numbers
are as the tables hold them, to nine digits.

Exit code: 0 restored, 2 refused: no tables, tables of another version, or tables of no cell of
this config.
"""

from .. import files
from ..errors import PROGRAM, Refused
from ..lab import restoring, store
from . import _selection


def main(argv: list[str]) -> int:
    arguments = _selection.parser("restore", __doc__, select=False).parse_intermixed_args(argv)
    config, cells = _selection.load(arguments)
    folder = files.folder(arguments.results, config.name)
    rows = restoring.rows(folder, cells)
    if not rows:
        raise Refused(f"{folder}: its tables hold no cell of this config: its settings changed")
    others = {str(row["provenance"].get("jaxforget") or "unknown") for row in rows.values()} - {
        store.version()
    }
    if others:
        raise Refused(
            f"{folder}: its cells are of jaxforget {', '.join(sorted(others))}, and this is "
            f"{store.version()}: compute them again"
        )
    there = store.everything(folder / "cells")
    new = {name: row for name, row in rows.items() if name not in there}
    store.refuse_mixed(folder / "cells", there | new)
    for row in new.values():
        store.keep(folder / "cells", row)
    print(f"{folder}: {len(new)} of {len(cells)} cells restored, {len(rows) - len(new)} were there")
    if len(rows) < len(cells):
        print(f"next: {PROGRAM} run {arguments.config}")
    return 0
