"""Another release in cluster.yaml: one value changes, and not a byte beside it."""

from __future__ import annotations

import pytest

from kubewright.spec.release import with_release

HOSTS = "hosts:\n  - {name: m1, address: 192.0.2.11, roles: [master]}  # the first\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f'name: a\nkubernetes: "1.36.3"  # with the books\n{HOSTS}',
            f'name: a\nkubernetes: "1.37.1"  # with the books\n{HOSTS}',
        ),
        (f"kubernetes: 1.36.3\nname: a\n{HOSTS}", f'kubernetes: "1.37.1"\nname: a\n{HOSTS}'),
        (f"kubernetes: '1.36.3'\n{HOSTS}", f'kubernetes: "1.37.1"\n{HOSTS}'),
        (f"name: a\n{HOSTS}", f'name: a\n{HOSTS}kubernetes: "1.37.1"\n'),
        (f"name: a\n{HOSTS}".rstrip("\n"), f'name: a\n{HOSTS}kubernetes: "1.37.1"\n'),
        (f"name: ä\r\nkubernetes: 1.36.3\r\n{HOSTS}", f'name: ä\r\nkubernetes: "1.37.1"\r\n{HOSTS}'),
    ],
    ids=["quoted", "plain", "single quotes", "default", "no newline at the end", "Windows"],
)
def test_the_release_is_replaced_and_nothing_else(before: str, after: str) -> None:
    assert with_release(before.encode(), "1.37.1") == after.encode()


@pytest.mark.parametrize(
    "text",
    [
        "{name: a, kubernetes: 1.36.3}\n",
        "kubernetes: |\n  1.36.3\nname: a\n",
        "kubernetes: [1.36.3]\nname: a\n",
        "name: a\nkubernetes: 1.36.3\nkubernetes: 1.36.3\n",
        "- a\n",
        "name: [\n",
        "",
    ],
)
def test_a_file_whose_place_for_it_is_not_plain_is_left_to_a_person(text: str) -> None:
    assert with_release(text.encode(), "1.37.1") is None


def test_what_ends_in_a_block_of_text_is_left_to_a_person_or_right() -> None:
    text = "name: a\nnotes: |\n  kubernetes: 1.36.3\n"
    edited = with_release(text.encode(), "1.37.1")
    assert edited == f'{text}kubernetes: "1.37.1"\n'.encode()
