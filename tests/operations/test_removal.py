"""The shell that removes objects from the cluster, run with the real curl against an API that keeps objects by their path."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubewright.observe.objects import Listed, Ref
from kubewright.plan.cluster_tasks import removal

CONFIG_MAP = Ref(kind="ConfigMap", namespace="kube-system", name="old")
ROLE = Ref(kind="ClusterRole", name='system:"old" {1}')
CONNECTION_REFUSED = 7


@dataclass(kw_only=True)
class Api:
    """`objects`: UIDs by path. `answers`: a status for some paths, whatever is there."""

    objects: dict[str, str] = field(default_factory=dict)
    answers: dict[str, int] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    address: str = ""

    def delete(self, path: str, options: dict[str, Any]) -> int:
        self.asked.append(options)
        if path in self.answers:
            return self.answers[path]
        if path not in self.objects:
            return 404
        if self.objects[path] != options["preconditions"]["uid"]:
            return 409
        del self.objects[path]
        return 200


@pytest.fixture
def api() -> Iterator[Api]:
    kept = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_DELETE(self) -> None:
            kept.connections.add(self.client_address)
            assert self.headers["Content-Type"] == "application/json"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(kept.delete(self.path, json.loads(body)))
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield kept
        server.shutdown()


def _removed(folder: Path, address: str) -> subprocess.CompletedProcess[str]:
    task = removal([Listed(ref=ref, uid="1", task="t", applied="ab", owned=True) for ref in (CONFIG_MAP, ROLE)], address)
    (folder / "new").write_bytes(task.content)
    environment = {
        **os.environ,
        "here": str(folder),
        "new": str(folder / "new"),
        "LC_ALL": "C",
        "http_proxy": "http://192.0.2.1:9",
    }
    return subprocess.run(["sh", "-eu"], input=task.apply, env=environment, capture_output=True, text=True, check=False)


def test_objects_are_removed_by_their_uids_over_one_connection(tmp_path: Path, api: Api) -> None:
    api.objects = {CONFIG_MAP.path: "1", ROLE.path: "1", "/api/v1/namespaces/kube-system/configmaps/other": "2"}
    done = _removed(tmp_path, api.address)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(api.objects.values()) == ["2"]
    assert len(api.connections) == 1
    assert api.asked[0] == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
        "preconditions": {"uid": "1"},
    }


def test_it_can_be_done_again(tmp_path: Path, api: Api) -> None:
    """A run that was killed in between may have removed some or all of them."""
    api.objects = {ROLE.path: "1"}
    assert _removed(tmp_path, api.address).returncode == 0
    assert api.objects == {}
    assert _removed(tmp_path, api.address).returncode == 0


def test_a_new_object_of_the_same_name_stays(tmp_path: Path, api: Api) -> None:
    api.objects = {CONFIG_MAP.path: "another", ROLE.path: "1"}
    assert _removed(tmp_path, api.address).returncode == 0
    assert api.objects == {CONFIG_MAP.path: "another"}


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_an_object_that_the_api_does_not_remove_is_named(tmp_path: Path, api: Api, status: int) -> None:
    api.objects, api.answers = {ROLE.path: "1"}, {CONFIG_MAP.path: status}
    done = _removed(tmp_path, api.address)
    assert done.returncode == 1
    assert done.stderr == f"not removed (HTTP status, address):\n{status} {api.address}{CONFIG_MAP.path}\n"
    assert api.objects == {}, "the others are gone"


def test_an_api_that_does_not_answer_is_a_failure(tmp_path: Path) -> None:
    done = _removed(tmp_path, "http://127.0.0.1:1")
    assert done.returncode == CONNECTION_REFUSED
    assert "127.0.0.1" in done.stderr
