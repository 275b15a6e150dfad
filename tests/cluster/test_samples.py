"""Every sample, in a namespace of its own, several at the same time. Costs about 1.5 minutes on 2 cores; shares `cluster`.

Without the add-ons, `autoscaler`, `ingress` and `dynamic-volume` are only accepted by the API: the add-ons' own tests show
that they scale, route and get a volume.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.releases import DEFAULT
from tests.cluster.conftest import Cluster, Done
from tests.cluster.reach import on
from tests.cluster.waiting import until
from tests.support.samples import ROOT, SAMPLES, Sample

pytestmark = pytest.mark.cluster

AT_ONCE = 6
STEP_SECONDS = 150
"""A deadline, not a bound: the cluster runs all samples on two cores, and a CronJob waits for its minute."""
SLOW = ("cronjob", "probes", "guestbook", "peers", "rolling-update")
"""They wait longest, so they start first."""


@dataclass(frozen=True, kw_only=True)
class Runner:
    """kubectl on this machine, with the administrator's kubeconfig. `folder` has the program."""

    cluster: Cluster
    folder: Path

    def shell(self, sample: Sample, command: str) -> Done:
        """A command as the page has it, in the sample's namespace."""
        config = self.folder / f"{sample.name}.kubeconfig"
        if not config.exists():
            yaml = YAML(typ="safe", pure=True)
            document = yaml.load(self.cluster.inventory / "admin.kubeconfig")
            document["contexts"][0]["context"]["namespace"] = namespace(sample)
            config.touch(mode=0o600)
            yaml.dump(document, config)
        environment = {**os.environ, "KUBECONFIG": str(config), "PATH": f"{self.folder}:{os.environ['PATH']}"}
        with on(self.cluster.lab):
            return subprocess.run(
                ["sh", "-c", command], cwd=ROOT.parent, env=environment, capture_output=True, text=True, timeout=300, check=False
            )

    def tried(self, sample: Sample) -> str:
        """Apply it and carry out its steps: how long they took."""
        began = time.monotonic()
        made = self.shell(sample, f"kubectl create namespace {namespace(sample)}")
        assert made.returncode == 0, made.stderr
        applied = self.shell(sample, sample.apply)
        if sample.refused:
            assert applied.returncode != 0 and sample.refused in applied.stderr, applied
            return f"refused after {time.monotonic() - began:.0f} s"
        assert applied.returncode == 0, applied.stderr
        for step in sample.steps:

            def says(command: str = step.run, wanted: str = step.says) -> bool:
                done = self.shell(sample, command)
                found = done.returncode == 0 and re.search(wanted, done.stdout)
                assert found, f"{done.returncode} {done.stdout} {done.stderr}"
                return True

            until(f"{sample.name}: {step.run}", says, STEP_SECONDS, pause=1)
        return f"{time.monotonic() - began:.0f} s"

    def gone(self, sample: Sample) -> None:
        """What it left is deleted, so that later ones have room."""
        names = [one["metadata"]["name"] for one in sample.documents if one["kind"] == "PersistentVolume"]
        for what in (f"namespace {namespace(sample)}", *(f"persistentvolume {name}" for name in names)):
            done = self.shell(sample, f"kubectl delete {what} --ignore-not-found --wait=false")
            assert done.returncode == 0, done.stderr


def namespace(sample: Sample) -> str:
    return f"sample-{sample.name}"


@pytest.fixture(scope="module")
def tries(cluster: Cluster, test_image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[str]]]:
    """All samples, being tried."""
    folder = tmp_path_factory.mktemp("samples")
    kubectl = obtain_all(DEFAULT, machine_arch(), SourceConfig(), print).binary("kubectl").path
    (folder / "kubectl").symlink_to(kubectl)
    runner = Runner(cluster=cluster, folder=folder)
    old = " ".join(map(namespace, SAMPLES))
    runner.shell(SAMPLES[0], f"kubectl delete namespace {old} --ignore-not-found --timeout=120s")

    def tried(sample: Sample) -> str:
        try:
            return runner.tried(sample)
        finally:
            runner.gone(sample)

    first = sorted(SAMPLES, key=lambda sample: sample.name not in SLOW)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {sample.name: pool.submit(tried, sample) for sample in first}


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_a_sample_does_what_its_line_says(tries: dict[str, Future[str]], sample: Sample) -> None:
    print(f"{sample.name}: {tries[sample.name].result(timeout=600)}")
