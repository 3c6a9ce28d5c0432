"""Lists, shows or fetches data sets: licence and citation first, checked by hash.

A run never downloads: a missing file names the fetch command. --root, else $JAXFORGET_DATA, else
the user's cache folder, is where the files go.
"""

import argparse
import hashlib
import importlib
from pathlib import Path
from typing import Any

from ..errors import PROGRAM, Refused
from ..lab.setup import root
from ..plugins import DOORS, names, resolve, suggest


def sources() -> dict[str, tuple[str, Any]]:
    """Every source by its name, with the plug-in that reads it."""
    known = {}
    for plugin in names(DOORS["data"]):
        try:
            module = importlib.import_module(resolve(plugin, DOORS["data"]).module)
        except (ValueError, ImportError) as error:
            raise Refused(f"data set {plugin!r}: {error}") from error
        for name, source in getattr(module, "SOURCES", {}).items():
            known[name] = (plugin, source)
    return known


def _source(name: str) -> tuple[str, Any]:
    known = sources()
    if name not in known:
        raise Refused(f"no data set {name!r}{suggest(name, known)}")
    return known[name]


def describe(plugin: str, name: str, source: Any) -> str:
    """What a person must know before using a data set."""
    facts = {
        "data.use": plugin,
        "counts": source.counts,
        "licence": source.licence,
        "citation": source.citation,
        "address": source.url or "none: part of the package, or by hand",
        "sha256": source.sha256 or "not known",
        "folder": source.folder,
        "files": ", ".join(source.files),
    }
    return "\n".join([f"{name}: {source.name}", *(f"  {k:<9} {v}" for k, v in facts.items())])


def fetch(source: Any, folder: Path, url: str | None = None) -> Path:
    """Downloads one file under a temporary name, checks it, and only then gives it its name."""
    import pooch

    address = url or source.url
    if not address:
        raise Refused(f"{source.name} has no address to fetch from; it is embedded, or by hand")
    file = address.rstrip("/").rpartition("/")[2].partition("?")[0]
    target = folder / source.folder / file
    if target.is_file() and source.sha256:
        digest = hashlib.sha256(target.read_bytes()).hexdigest()
        if digest != source.sha256:
            raise Refused(
                f"{target} exists with sha256 {digest}, expected {source.sha256}; move it away"
            )
    try:
        pooch.retrieve(address, source.sha256 and f"sha256:{source.sha256}", file, target.parent)
    except (ValueError, OSError) as error:  # a wrong hash names both values; no network says so
        raise Refused(f"{source.name}: {error}") from error
    return target


def _fetch(arguments: argparse.Namespace) -> None:
    plugin, source = _source(arguments.name)
    print(describe(plugin, arguments.name, source))
    if arguments.offline:
        raise Refused(f"--offline forbids fetching {arguments.name}; its address is {source.url}")
    if not source.sha256 and not arguments.trust_unhashed:
        raise Refused(
            f"no hash of {arguments.name} is known, so what comes cannot be checked: to fetch it "
            "all the same, add --trust-unhashed"
        )
    target = fetch(source, Path(root(arguments.root)), arguments.url)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    state = "as expected" if source.sha256 else "of what came; there is none to compare with"
    print(f"  stored    {target}\n  sha256    {digest} ({state})")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("list", help="names, counts and licences")
    verbs.add_parser("show", help="everything about one").add_argument("name")
    fetching = verbs.add_parser("fetch", help="download one, verified")
    fetching.add_argument("name")
    fetching.add_argument("--root", help="folder of the data sets (default: $JAXFORGET_DATA)")
    fetching.add_argument("--url", help="another address of the same file, such as a mirror")
    fetching.add_argument("--offline", action="store_true", help="forbid the network")
    fetching.add_argument(
        "--trust-unhashed", action="store_true", help="also where no hash is known to check by"
    )
    arguments = parser.parse_args(argv)
    if arguments.verb == "list":
        for name, (plugin, source) in sorted(sources().items()):
            print(f"{name:<24} {plugin:<14} {source.counts}\n{'':<24} {source.licence}")
    elif arguments.verb == "show":
        plugin, source = _source(arguments.name)
        print(describe(plugin, arguments.name, source))
    else:
        _fetch(arguments)
    return 0
