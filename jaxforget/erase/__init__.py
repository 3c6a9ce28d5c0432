"""Erasing from a model that is being served, one request after another."""

from jaxforget.erase import session
from jaxforget.erase.session import Session

__all__ = ["Session", "session"]
