"""The JSON Schema of a cluster.yaml, for editors: they complete settings and show their descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubewright.releases import SUPPORTED
from kubewright.spec.model import ClusterSpec
from kubewright.spec.sections import Settings


def _sections(of: type[Settings]) -> Iterator[type[Settings]]:
    for section in of.__subclasses__():
        yield section
        yield from _sections(section)


def schema() -> dict[str, Any]:
    """A JSON Schema (2020-12). Without rules between settings, which `kubewright validate` checks."""
    made = ClusterSpec.model_json_schema(by_alias=True)
    made["properties"]["kubernetes"]["enum"] = [release.kubernetes for release in SUPPORTED]
    sections = {section.__name__: section for section in _sections(Settings)}
    for name, part in ((ClusterSpec.__name__, made), *made["$defs"].items()):
        part["description"] = " ".join(part["description"].split())
        for setting, field in sections[name].model_fields.items():
            part["properties"][field.alias or setting]["description"] = sections[name].descriptions()[setting]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "cluster.yaml of kubewright"}
