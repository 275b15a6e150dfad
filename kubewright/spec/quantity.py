"""The values of Kubernetes quantities, for comparisons. Their syntax is `fields.Quantity`."""

from __future__ import annotations

import re
from decimal import Decimal

# [apimachinery: pkg/api/resource/quantity.go]. The API may also answer with an exponent, like 12e6.
_UNITS = {"n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1)}
_UNITS |= {unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)}
_FORM = re.compile(r"([+-]?[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")


def value(quantity: str) -> Decimal:
    """The number: `500m` is 0.5, `1Ki` is 1024. ValueError for text that is no quantity."""
    parts = _FORM.fullmatch(quantity)
    if not parts or parts[2] not in _UNITS:
        raise ValueError(f"not a quantity: {quantity}")
    return Decimal(parts[1]) * _UNITS[parts[2]]
