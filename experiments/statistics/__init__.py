"""Intervals over independent repetitions, tests of several of them, and variance components."""

from .intervals import LEAST, Estimate, area, chance, difference, holm, mean, replicated, student
from .variance import Component, components

__all__ = [
    "LEAST",
    "Component",
    "Estimate",
    "area",
    "chance",
    "components",
    "difference",
    "holm",
    "mean",
    "replicated",
    "student",
]
