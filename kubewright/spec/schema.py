"""The JSON Schema of a cluster.yaml, for editors: they complete settings and show their descriptions."""

from __future__ import annotations

from typing import Any

from kubewright.releases import SUPPORTED
from kubewright.spec.model import ClusterSpec


def schema() -> dict[str, Any]:
    """A JSON Schema (2020-12). What must hold between settings is not in it: `kubewright validate` knows that."""
    made = ClusterSpec.model_json_schema(by_alias=True)
    made["properties"]["kubernetes"]["enum"] = [release.kubernetes for release in SUPPORTED]
    for part in (made, *made["$defs"].values()):
        part["description"] = _one_line(part["description"])
        for setting in part["properties"].values():
            # pydantic leaves out a description that the section it refers to has too.
            own = setting.get("description") or made["$defs"][setting["$ref"].rsplit("/", 1)[-1]]["description"]
            setting["description"] = _one_line(own)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": "cluster.yaml of kubewright"}


def _one_line(text: str) -> str:
    return " ".join(text.split())
