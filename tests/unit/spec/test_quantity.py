"""Quantities as numbers."""

from __future__ import annotations

import pytest

from kubewright.spec.quantity import value


@pytest.mark.parametrize(
    ("one", "other"),
    [("1", "1000m"), ("1Ki", "1024"), ("1k", "1000"), ("2Gi", "2048Mi"), ("0.5", "500m"), ("12e6", "12M"), ("1500m", "1.5")],
)
def test_equal_quantities_have_equal_values(one: str, other: str) -> None:
    assert value(one) == value(other)


def test_quantities_are_compared_by_size_not_as_text() -> None:
    assert value("900Mi") < value("1Gi") < value("1100Mi")


@pytest.mark.parametrize("text", ["", "x", "1x", "1.2.3"])
def test_text_that_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="quantity"):
        value(text)
