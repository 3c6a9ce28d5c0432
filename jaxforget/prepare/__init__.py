"""From a raw table to a request, on the host: preprocessing, splits, requests, attacks, exchange."""

from jaxforget.prepare import forget, interop, preprocess, shilling, split

__all__ = ["forget", "interop", "preprocess", "shilling", "split"]
