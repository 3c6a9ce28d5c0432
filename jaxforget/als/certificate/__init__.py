"""How far implicit-ALS factors are, at most, from the one optimum of the retained data."""

from jaxforget.als.certificate import bound, dual, dual_point, guarantees, lanczos, proving, receipt
from jaxforget.als.certificate.bound import (
    Certificate,
    certify,
    check_settings,
    duality_gap,
    people,
)

__all__ = [
    "Certificate",
    "bound",
    "certify",
    "check_settings",
    "dual",
    "dual_point",
    "duality_gap",
    "guarantees",
    "lanczos",
    "people",
    "proving",
    "receipt",
]
