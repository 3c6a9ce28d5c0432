"""The fields of a config file, their types and defaults; plug-ins bring the fields of their own."""

from typing import Annotated, Any, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Share = Annotated[float, msgspec.Meta(gt=0, le=1)]
RESERVED = ("use", "models", "ratio")  # keys of a method's table that are not its settings
Kind = Literal[
    "random",
    "users",
    "items",
    "active",
    "inactive",
    "popular",
    "flipped",
    "pairs",
    "listed",
    "none",
    "shilling_random",
    "shilling_bandwagon",
    "canaries",
    "corruption",
]
ALONE = ("none", "pairs", "listed")  # kinds that share no amount with others
INJECTED = {  # kinds that inject profiles, and what these need beside an amount
    "shilling_random": ("fillers", "unpopular"),
    "shilling_bandwagon": ("fillers", "unpopular"),
    "canaries": ("fillers", "unpopular"),
    "corruption": ("fillers",),
}


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """How interactions become train, valid and test; without a seed, each seed splits anew."""

    by: Literal["interaction", "user", "time", "files"] = "interaction"
    shares: list[Annotated[float, msgspec.Meta(ge=0, le=1)]] = msgspec.field(
        default_factory=lambda: [0.8, 0.1, 0.1]
    )
    cold: Literal["drop", "keep"] = "drop"
    seed: Seed | list[Seed] | None = None
    valid: dict[str, Any] | None = None  # settings of the reader that make it read this part
    test: dict[str, Any] | None = None


class Request(msgspec.Struct, forbid_unknown_fields=True):
    """Who asks to be forgotten, and how much; a list is an axis of the grid."""

    kind: Kind | list[Kind] = "random"
    ratio: Share | list[Share] | None = None
    count: Count | list[Count] | None = None
    path: str | None = None  # CSV or .inter of original ids, from the working folder
    ignore_missing: bool = False  # lines of a list that name nothing
    fillers: Count | None = None  # items of an injected profile, beside its target
    unpopular: Share | None = None  # target or profile are of this share of the items, fewest first
    seed: Seed | None = None

    @property
    def kinds(self) -> list[str]:
        return self.kind if isinstance(self.kind, list) else [self.kind]


class Experiment(msgspec.Struct, forbid_unknown_fields=True):
    """The file as typed fields; plug-in tables stay open, their plug-ins are their schema."""

    seeds: list[Seed]
    data: dict[str, Any]
    models: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    request: Request
    split: Split = msgspec.field(default_factory=Split)
    reference: dict[str, Any] = {}
    ks: list[Count] = msgspec.field(default_factory=lambda: [10, 20])
    dtype: Literal["float32", "float64"] = "float32"
    repeats: Count = 1
    figures: list[str] = []
    unlearn_seeds: list[Seed] = []
