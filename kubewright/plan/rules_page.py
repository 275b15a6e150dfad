"""docs/changing-a-cluster.md, made from the rules: `python -m kubewright.plan.rules_page > docs/changing-a-cluster.md`."""

from __future__ import annotations

from collections import Counter

from kubewright.plan.rules import ALL, Edit, Kind, Rule

_HEAD = """# What an edit of cluster.yaml does to a live cluster

Made from `kubewright/plan/rules.py`; a test compares them. `plan` shows the class of each difference. `apply` carries out what
is *plain* or *rolling*. For *another command* and *refused*, both exit 3 before anything is written, and say what to do instead.

A cluster knows what it was made with. The record lies in `/var/lib/kubewright/cluster.json` on every master and etcd host, in
the ConfigMap `kubewright` in `kube-system`, and in `cluster.json` beside the inventory (keep that one in git). A cluster without
a record is adopted by the next `apply`: the record is filled from the live cluster, never from cluster.yaml.

| setting | edit | class | what happens | instead |
|---|---|---|---|---|
"""
_EXAMPLE = {"was": "OLD", "wanted": "NEW", "where": "HOST", "release": "RELEASE"}


def _row(rule: Rule) -> str:
    way = rule.way.format(**_EXAMPLE)
    edit = "" if rule.edit is Edit.CHANGED else str(rule.edit)
    return f"| `{rule.setting}` | {edit} | {rule.kind} | {rule.effect} | {way} |\n"


def counts() -> dict[Kind, int]:
    """The rows of each class."""
    return dict(Counter(rule.kind for rule in ALL))


def page() -> str:
    """The whole page."""
    return _HEAD + "".join(map(_row, ALL))


if __name__ == "__main__":
    print(page(), end="")
