"""The pods' network between two hosts of a lab: flannel's backends, and Services in both modes of kube-proxy."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import bench_lab
from benchmarks.figures import Figure
from benchmarks.processes import run
from kubewright import lab
from kubewright.artifacts import SourceConfig, obtain_all
from kubewright.artifacts.gomod import machine_arch
from kubewright.releases import DEFAULT

GROUP = "packets between two hosts of a lab"
BACKENDS, MODES, SERVICES = ("vxlan", "host-gw"), ("iptables", "nftables"), (1, 1000)
PORT, SECONDS, WAIT = 9000, 4.0, 120.0
MEASURED = 0
"""The number of the Service that is measured."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class End:
    """A host, or a pod on it: where a process is started to be one end."""

    namespace: str
    """The file of its network namespace."""
    address: str

    def command(self, *arguments: object) -> list[str]:
        return ["nsenter", f"--net={self.namespace}", sys.executable, "-m", "benchmarks.network_run", *map(str, arguments)]

    @contextlib.contextmanager
    def receiving(self) -> Iterator[None]:
        with subprocess.Popen(self.command("receive", self.address, PORT), stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                if process.stdout.readline().strip() != "ready":
                    raise RuntimeError(f"nothing listens at {self.address}")
                yield
            finally:
                process.kill()

    def measured(self, what: str, address: str) -> float:
        """The best of two, since other work only makes them worse."""
        return max(float(run(*self.command(what, address, PORT, SECONDS)).output) for _ in range(2))


def _until(what: str, held: Callable[[], Any]) -> Any:
    until = time.monotonic() + WAIT
    while not (found := held()):
        if time.monotonic() > until:
            raise RuntimeError(f"not within {WAIT:.0f} s: {what}")
        time.sleep(0.5)
    return found


@dataclass(kw_only=True)
class _Cluster:
    inventory: Path
    made: lab.Lab

    def set(self, **network: str) -> None:
        """Apply the spec with these settings of `network`."""
        path = self.inventory / "cluster.yaml"
        rest = [line for line in path.read_text().splitlines() if not line.startswith("network:")]
        path.write_text("\n".join([*rest, f"network: {json.dumps(network)}"]) + "\n")
        run(sys.executable, "-m", "kubewright", "apply", "-i", str(self.inventory))

    def kubectl(self, *arguments: str) -> str:
        return run(sys.executable, "-m", "kubewright", "kubectl", "-i", str(self.inventory), "--", *arguments).output

    def apply(self, objects: list[Mapping[str, object]]) -> None:
        with tempfile.NamedTemporaryFile("w") as file:
            json.dump({"apiVersion": "v1", "kind": "List", "items": objects}, file)
            file.flush()
            command = [sys.executable, "-m", "kubewright", "kubectl", "-i", str(self.inventory), "--", "apply", "-f", "-"]
            with Path(file.name).open("rb") as manifest:
                subprocess.run(command, stdin=manifest, stdout=subprocess.DEVNULL, check=True)

    def host(self, number: int) -> End:
        host = self.made.hosts[number]
        return End(namespace=f"/run/netns/{self.made.tag(host.name)}", address=str(host.address))

    def pod(self, number: int) -> End:
        """The DaemonSet's pod on that host."""
        node = self.made.hosts[number].name
        said = _until(
            f"the pod on {node} has an address",
            lambda: self.kubectl(
                "get",
                "pods",
                "-l",
                "app=end",
                f"--field-selector=spec.nodeName={node}",
                "-o",
                "jsonpath={.items[*].status.podIP}",
            ).strip(),
        )
        return End(namespace=str(self._namespace(node, said)), address=said)

    def _namespace(self, node: str, address: str) -> Path:
        for pid in run("ip", "netns", "pids", self.made.tag(node)).output.split():
            for file in Path(f"/proc/{pid}/root/run/netns").glob("cni-*"):
                if f" {address}/" in run("nsenter", f"--net={file}", "ip", "-4", "-o", "addr").output:
                    return file
        raise RuntimeError(f"{node} has no network namespace with {address}")


def _ends(image: str) -> Mapping[str, object]:
    labels = {"app": "end"}
    spec = {"tolerations": [{"operator": "Exists"}], "containers": [{"name": "end", "image": image}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "end", "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def _service(number: int, end: End) -> Iterator[Mapping[str, object]]:
    """A Service without a selector, with `end` behind it."""
    name, port = f"bench-{number}", {"name": "tcp", "port": PORT}
    yield {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [port]}}
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [port],
        "endpoints": [{"addresses": [end.address], "conditions": {"ready": True}}],
    }


def _figure(name: str, value: float, unit: str, against: str = "", base: float | None = None) -> Figure:
    return Figure(group=GROUP, name=name, samples=(value,), unit=unit, against=against, base=base)


def _backends(cluster: _Cluster, say: Say) -> Iterator[Figure]:
    here, there = cluster.host(0), cluster.host(1)
    for backend in BACKENDS:
        say(f"throughput with {backend}")
        cluster.set(backend=backend)
        with there.receiving():
            own = here.measured("send", there.address) / 1e6
        source, target = cluster.pod(0), cluster.pod(1)
        with target.receiving():
            found = source.measured("send", target.address) / 1e6
        yield _figure(f"host to host, beside {backend}", own, "MB/s")
        yield _figure(f"pod to pod, {backend}", found, "MB/s", "host to host beside it", own)


def _services(cluster: _Cluster, say: Say) -> Iterator[Figure]:
    for count in SERVICES:
        source, target = cluster.pod(0), cluster.pod(1)
        say(f"{count} Services")
        cluster.apply([found for number in range(count) for found in _service(number, target)])
        address = cluster.kubectl("get", "service", f"bench-{MEASURED}", "-o", "jsonpath={.spec.clusterIP}").strip()
        for mode in MODES:
            cluster.set(backend=BACKENDS[-1], proxy_mode=mode)
            yield from _through(source, target, address, f"{count:,} Services, {mode}" if count > 1 else f"1 Service, {mode}")


def _through(source: End, target: End, address: str, name: str) -> Iterator[Figure]:
    with target.receiving():
        _until(f"{address} answers", lambda: _answers(source, address))
        for what, title, unit, scale in (("send", "throughput", "MB/s", 1e6), ("connect", "new connections", "a second", 1.0)):
            own = source.measured(what, target.address) / scale
            yield _figure(f"{title}, {name}", source.measured(what, address) / scale, unit, "the pod's own address", own)


def _answers(source: End, address: str) -> bool:
    command = source.command("connect", address, PORT, 0.01)
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def measure(say: Say) -> Iterator[Figure]:
    """A cluster of two hosts, changed from backend to backend, then from mode to mode."""
    image = obtain_all(DEFAULT, machine_arch(), SourceConfig(), say, test_images=False).image("pause").reference
    with tempfile.TemporaryDirectory() as place, bench_lab.up(2, say) as made:
        inventory = bench_lab.inventory(Path(place) / "inventory", made, 2)
        cluster = _Cluster(inventory=inventory, made=made)
        cluster.set(backend=BACKENDS[0])
        cluster.apply([_ends(image)])
        yield from _backends(cluster, say)
        yield from _services(cluster, say)
