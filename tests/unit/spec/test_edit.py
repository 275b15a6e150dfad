"""Hosts are taken out of a cluster.yaml, and the rest stays as it was written."""

from __future__ import annotations

import pytest

from kubewright.spec.edit import without_hosts

TEXT = """# The cluster of the shop.
name: shop
hosts:
  - name: m1          # in rack 1
    address: 192.0.2.11
    roles: [master]
  # The one that is old.
  - {name: m2, address: 192.0.2.12, roles: [master]}
  - name: w1
    address: 192.0.2.31
    roles:
      - worker
    labels: {zone: a,
      disk: ssd}

network:
  backend: vxlan    # as before
"""


def test_a_host_in_one_line_is_taken_out() -> None:
    assert (
        without_hosts(TEXT.encode(), ["m2"])
        == TEXT.replace("  - {name: m2, address: 192.0.2.12, roles: [master]}\n", "").encode()
    )


def test_a_host_of_several_lines_is_taken_out_and_what_follows_stays() -> None:
    begin, end = TEXT.index("  - name: w1"), TEXT.index("\nnetwork:")
    assert without_hosts(TEXT.encode(), ["w1"]) == (TEXT[:begin] + TEXT[end:]).encode()


def test_several_hosts_are_taken_out_at_once() -> None:
    edited = without_hosts(TEXT.encode(), ["m1", "m2"])
    assert edited is not None and b"w1" in edited and b"m1" not in edited and b"m2," not in edited


def test_hosts_that_are_not_there_change_nothing() -> None:
    assert without_hosts(TEXT.encode(), ["m9"]) == TEXT.encode()


@pytest.mark.parametrize(
    "text",
    [
        "name: a\nhosts: [{name: m1, address: 192.0.2.11}, {name: m2, address: 192.0.2.12}]\n",
        "name: a\nhosts:\n  - &m {name: m1, address: 192.0.2.11}\n  - *m\n",
        "name: a\nhosts:\n  - name: m1\n",
        "name: a\n",
        "hosts: [",
    ],
    ids=["in one line", "an alias", "the only one", "no hosts", "no YAML"],
)
def test_a_file_that_is_written_otherwise_is_left_to_people(text: str) -> None:
    assert without_hosts(text.encode(), ["m1"]) is None
