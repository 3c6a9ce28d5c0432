"""From a raw table to a request: preprocessing, splits, requests, attacks, exchange of data."""

from jaxforget.prepare import (
    forget,
    interop,
    planted,
    preprocess,
    published,
    requests,
    shilling,
    split,
)

__all__ = [
    "forget",
    "interop",
    "planted",
    "preprocess",
    "published",
    "requests",
    "shilling",
    "split",
]
