"""The samples, as samples/README.md lists them and tests/cluster/test_samples.py runs them.

`python -m tests.support.samples > samples/README.md` makes the page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2] / "samples"
EXPECTED = Path(__file__).parents[1] / "cluster/samples"
"""Not beside the manifests: `kubectl apply -f samples/NAME` reads every YAML file of that folder."""
PAGE = ROOT / "README.md"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A command to try. It is done once its output matches `says`, a regular expression."""

    run: str
    expect: str
    """The same for people."""
    says: str


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A folder with one manifest, for `kubectl apply -f`, and what to expect."""

    name: str
    shows: str
    steps: tuple[Step, ...] = ()
    refused: str = ""
    """The API refuses the manifest with these words; empty: it accepts it."""
    note: str = ""

    @property
    def manifest(self) -> Path:
        return ROOT / self.name / f"{self.name}.yaml"

    @property
    def apply(self) -> str:
        """The command that applies it, from the repository's root."""
        return f"kubectl apply -f samples/{self.name}"

    @property
    def documents(self) -> list[dict[str, Any]]:
        return list(YAML(typ="safe", pure=True).load_all(self.manifest))


def _sample(path: Path) -> Sample:
    found = YAML(typ="safe", pure=True).load(path)
    return Sample(name=path.stem, **{**found, "steps": tuple(Step(**step) for step in found.get("steps", ()))})


SAMPLES = tuple(map(_sample, sorted(EXPECTED.glob("*.yaml"))))

_HEAD = """# Samples

Small manifests, one for each kind of thing that a new user tries. Each folder has one manifest. Try it in a namespace of its
own:

```
kubectl create namespace try
kubectl -n try apply -f samples/deployment
kubectl -n try rollout status deployment/web
kubectl delete namespace try
```

Add `-n try` to the commands below. If a command fails at first, run it again: the pods need a few seconds to start.
The samples need one image: agnhost, the test image of Kubernetes. Nodes pull it from registry.k8s.io. If they can't reach a
registry, import its archive on each node: `ctr -n k8s.io images import FILE`. `kubewright artifacts fetch --test` makes the file.

`tests/cluster/test_samples.py` runs every sample as this page shows it.

| sample | shows | try | expect |
|---|---|---|---|
"""


def _row(sample: Sample) -> str:
    tries = [(f"`{step.run}`", step.expect) for step in sample.steps]
    if sample.refused:
        tries = [(f"`{sample.apply}`", f"the API refuses it: {sample.refused}")]
    numbered = len(tries) > 1
    commands, answers = (
        "<br>".join(f"{number}. {text}" if numbered else text for number, text in enumerate(texts, start=1))
        for texts in zip(*tries, strict=True)
    )
    note = f"<br>{sample.note}" if sample.note else ""
    return f"| [{sample.name}]({sample.name}/{sample.name}.yaml) | {sample.shows} | {commands} | {answers}{note} |\n"


def page() -> str:
    """The text of samples/README.md."""
    return _HEAD + "".join(map(_row, SAMPLES))


if __name__ == "__main__":
    print(page(), end="")
