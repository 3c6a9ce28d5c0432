"""How far implicit-ALS factors are, at most, from the one optimum of the retained data."""

from jaxforget.als.certificate import (
    bound,
    digests,
    dual,
    dual_point,
    evidence,
    fields,
    guarantees,
    lanczos,
    proving,
    receipt,
    signing,
    verifying,
)
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
    "digests",
    "dual",
    "dual_point",
    "duality_gap",
    "evidence",
    "fields",
    "guarantees",
    "lanczos",
    "people",
    "proving",
    "receipt",
    "signing",
    "verifying",
]
