"""Every setting of cluster.yaml has a class, and the page agrees with the code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from kubewright.plan.rules import ALL, Kind
from kubewright.plan.rules_page import counts, page
from kubewright.spec.model import ClusterSpec, HostSpec
from kubewright.spec.sections import Settings

PAGE = Path(__file__).parents[3] / "docs" / "changing-a-cluster.md"


def _settings(section: type[Settings], at: str = "") -> Iterator[str]:
    for name, field in section.model_fields.items():
        key = field.alias or name
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        below = next((kind for kind in kinds if issubclass(kind, Settings)), None)
        if below is HostSpec:
            yield "hosts"
            yield from _settings(HostSpec, "hosts[].")
        elif below is not None:
            yield from _settings(below, f"{at}{key}.")
        else:
            yield f"{at}{key}"


def _covered(setting: str) -> bool:
    return any(rule.setting == setting or (rule.setting.endswith(".*") and setting.startswith(rule.setting[:-1])) for rule in ALL)


def test_every_setting_of_the_schema_is_classified() -> None:
    settings = list(_settings(ClusterSpec))
    assert {"network.pods", "hosts[].ssh.port", "extra_args.kube-apiserver", "hosts[].name", "api.port"} <= set(settings)
    assert [setting for setting in settings if not _covered(setting)] == []


def test_every_rule_is_about_an_existing_setting() -> None:
    settings = list(_settings(ClusterSpec))
    for rule in ALL:
        assert any(s == rule.setting or s.startswith(rule.setting.removesuffix("*")) for s in settings), rule.setting


def test_a_difference_that_apply_refuses_says_what_to_do() -> None:
    for rule in ALL:
        assert rule.kind in (Kind.PLAIN, Kind.ROLLING) or rule.way, rule.setting


def test_the_page_is_made_from_the_rules() -> None:
    assert PAGE.read_text() == page(), "python -m kubewright.plan.rules_page > docs/changing-a-cluster.md"
    assert sum(counts().values()) == PAGE.read_text().count("\n| `")
