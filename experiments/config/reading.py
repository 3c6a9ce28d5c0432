"""One TOML file is one experiment: read strictly, every mistake named by its dotted key."""

import hashlib
import math
import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec

from ..errors import Refused
from ..plugins import suggest
from . import checks, schema
from .fields import Experiment, Request, Split


class Config(NamedTuple):
    """A checked experiment and where it came from."""

    name: str  # configs/<name>.toml -> results/<name>/
    sentence: str  # the comment that opens the file
    text: str
    overrides: tuple[str, ...]
    experiment: Experiment

    @property
    def sha256(self) -> str:
        return hashlib.sha256("\n".join([self.text, *self.overrides]).encode()).hexdigest()


def _literal(text: str) -> Any:
    """A TOML value; ``a,b`` is a list; anything else is a string."""
    try:
        parsed = tomllib.loads(f"value = {text}")
        if parsed.keys() == {"value"} and isinstance(
            parsed["value"], bool | int | float | str | list | dict
        ):
            return parsed["value"]
    except (ValueError, RecursionError):  # no TOML, or an integer too long to be read
        pass
    return [_literal(part) for part in text.split(",")] if "," in text else text


def override(raw: dict[str, Any], assignment: str) -> None:
    """Writes one ``dotted.path=value`` into the raw tables; the usual checks follow."""
    path, equals, text = assignment.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise Refused(f"{assignment!r}: an override is dotted.path=value, such as seeds=0,1")
    value, table = _literal(text.strip()), raw
    is_list = keys[0] in ("seeds", "unlearn_seeds", "ks", "figures") or (
        len(keys) == 3 and keys[0] == "methods" and keys[2] == "models"
    )
    for depth, key in enumerate(keys[:-1]):
        if depth == 1 and keys[0] in ("models", "methods") and key not in table:
            raise Refused(f"{'.'.join(keys[:2])}: not in the file{suggest(key, table)}")
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise Refused(f"{path}: {'.'.join(keys[: depth + 1])} is a value, not a table")
    table[keys[-1]] = [value] if is_list and not isinstance(value, list) else value


def _plain(value: Any, path: str) -> None:
    """Refuses what no setting can be, wherever it stands: NaN, infinities, huge integers, dates."""
    if isinstance(value, dict):
        for key, item in value.items():
            _plain(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for item in value:
            _plain(item, path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise Refused(f"{path}: got {value}; a finite number is needed")
    elif isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise Refused(f"{path}: got an integer of {value.bit_length()} bits; at most 63 are read")
    elif not isinstance(value, bool | int | float | str):
        raise Refused(f"{path}: got {value}; write a date or a time as a string")


def _known(raw: Any, struct: type, path: str) -> None:
    """Unknown and missing keys of one table, with their dotted path."""
    if not isinstance(raw, dict):
        return  # the type check that follows says so
    fields = {f.name: f for f in msgspec.structs.fields(struct)}
    for key in raw.keys() - fields.keys():
        raise Refused(f"{path}{key}: unknown key{suggest(key, fields)}")
    for name, field in fields.items():
        if field.required and name not in raw:
            raise Refused(f"{path}{name}: missing; every config needs it")


def _typed(raw: dict[str, Any]) -> Experiment:
    """Checks keys, then types; msgspec does the types, we translate its paths."""
    _known(raw, Experiment, "")
    _known(raw["request"], Request, "request.")
    _known(raw.get("split"), Split, "split.")
    try:
        return msgspec.convert(raw, Experiment, strict=True)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$.")
        path = path.rstrip("`").replace("[...]", "")
        keys = re.sub(r"\[\d+\]", "", path).split(".")
        struct = {"request": Request, "split": Split}.get(keys[0], Experiment)
        choices = _choices(get_type_hints(struct).get(keys[-1])) if "enum" in text else ()
        given = re.search(r"'(.*)'", text)
        near = suggest(given[1], choices) if given and choices else ""
        text = text.replace("Invalid enum value", "no choice").replace("`", "")
        raise Refused(f"{path}: {text[0].lower()}{text[1:]}{near}") from None


def _choices(hinted: Any) -> list[str]:
    """The words a type allows, also where they stand in a union or a list."""
    return [c for a in get_args(hinted) for c in ([a] if isinstance(a, str) else _choices(a))]


def _steps(data: dict[str, Any]) -> None:
    """The preprocessing steps, replaced by what their signatures make of them."""
    known = schema.steps() if data.get("steps") else {}
    for i, step in enumerate(data.get("steps", [])):
        where = f"data.steps[{i}]"
        if not isinstance(step, dict) or not isinstance(step.get("use"), str):
            raise Refused(f"{where}: expected {{use = 'name', ...}}, got {step!r}")
        if step["use"] not in known:
            raise Refused(f"{where}.use: no step {step['use']!r}{suggest(step['use'], known)}")
        given = {k: v for k, v in step.items() if k != "use"}
        fixed, swept = known[step["use"]].split(given, where)
        if swept:
            raise Refused(f"{where}.{next(iter(swept))}: a step's settings cannot be swept")
        data["steps"][i] = {"use": step["use"], **fixed}


def sentence(text: str) -> str:
    """The comment lines that open a config, as one sentence."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").strip())
    return " ".join(lines)


def read(path: str, overrides: tuple[str, ...] = ()) -> Config:
    """Reads and checks a config: defaults, then the file, then the command line."""
    file = Path(path)
    if not file.suffix and (Path("configs") / f"{path}.toml").is_file():
        file = Path("configs") / f"{path}.toml"  # a bare name means the committed config
    try:
        text = file.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except FileNotFoundError:
        raise Refused(
            f"no config {path!r}: give a TOML file, or the name of one in configs/"
        ) from None
    except RecursionError:
        raise Refused(f"{path}: lists or tables are nested too deeply") from None
    except (ValueError, OSError) as error:  # no TOML, no UTF-8, an integer too long to be read
        raise Refused(f"{path}: {error}") from None
    for assignment in overrides:
        override(raw, assignment)
    _plain(raw, "")
    experiment = _typed(raw)
    checks.shapes(experiment)
    checks.split(experiment.split, raw.get("split", {}))
    checks.request(experiment.request)
    _steps(experiment.data)
    return Config(file.stem, sentence(text), text, tuple(overrides), experiment)
