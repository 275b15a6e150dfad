"""The questions to etcd about its Secrets, and the reading of the answers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from kubewright.verbs.rotate.encryption import _LIST, _REWRITE, Standing, parse
from pki.encryption import IDENTITY, Providers
from pki.stages import Stage

# As `etcdctl get -w fields` of etcd 3.7 prints it.
ANSWER = r""""ClusterID" : 1
"Revision" : 2
"Key" : "/registry/secrets/default/a b"
"CreateRevision" : 5
"Value" : "k8s:enc:secretbox:v1:20261121-00aa11bb:\x01\x02: \"\n"
"Lease" : 0
"Key" : "/registry/secrets/kube-system/plain"
"Value" : "k8s\x00\n\fk8s:enc:secretbox:v1:20261121-00aa11bb: SENTINEL"
"Key" : "/registry/secrets/kube-system/old"
"Value" : "k8s:enc:secretbox:v1:20250101-ffffffff:SENTINEL"
"More" : false
"Count" : 3
"""


def _asked(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    program = folder / "etcdctl"
    program.write_text(f"#!/bin/sh\n{script}")
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", _LIST], env=environment, capture_output=True, text=True, check=False)


def test_each_secret_is_reported_with_the_name_of_its_key_and_without_its_value(tmp_path: Path) -> None:
    (tmp_path / "answer").write_text(ANSWER)
    done = _asked(tmp_path, f"cat {tmp_path}/answer")
    assert done.returncode == 0, done.stderr
    assert "SENTINEL" not in done.stdout
    assert parse(done.stdout) == {
        "20250101-ffffffff": ("kube-system/old",),
        "20261121-00aa11bb": ("default/a b",),
        IDENTITY: ("kube-system/plain",),
    }


def test_no_answer_from_etcd_differs_from_an_empty_answer(tmp_path: Path) -> None:
    assert _asked(tmp_path, "exit 1").returncode == 1


# As kubectl 1.36 says it.
REFUSALS = """Error from server (Conflict): error when replacing "STDIN": Operation cannot be fulfilled on secrets "x.y": the
Error from server (NotFound): error when replacing "STDIN": secrets "gone" not found
Error from server (Invalid): error when replacing "STDIN": Secret "odd" is invalid: data[SENTINEL]: Invalid value: "SENTINEL"
Error from server (Forbidden): error when replacing "STDIN": admission webhook "x" denied the request: secrets "SENTINEL"
error: unable to decode "STDIN": SENTINEL
"""


def _rewritten(folder: Path, *, get: int = 0) -> subprocess.CompletedProcess[str]:
    program = folder / "kubectl"
    read = f"echo '{{\"data\": \"SENTINEL\"}}'; [ {get} = 0 ] || echo 'no API here' >&2; exit {get}"
    write = f'cat > "$0.given"; cat {folder}/refusals >&2; exit 1'
    program.write_text(f'#!/bin/sh\ncase "$*" in *" get "*) {read} ;; esac\n{write}\n')
    program.chmod(0o755)
    (folder / "refusals").write_text(REFUSALS)
    command = _REWRITE.replace("/usr/local/bin/kubectl", str(program))
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)


def test_only_the_reason_and_the_secrets_name_of_a_refusal_leave_the_host(tmp_path: Path) -> None:
    done = _rewritten(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["Conflict x.y", "NotFound gone", "Invalid odd", "Forbidden"]
    assert "SENTINEL" in (tmp_path / "kubectl.given").read_text()


def test_a_master_that_can_not_read_the_secrets_has_rewritten_none(tmp_path: Path) -> None:
    done = _rewritten(tmp_path, get=1)
    assert (done.returncode, done.stderr) == (1, "no API here\n")


def test_the_rotation_is_settled_only_when_every_secret_has_the_writing_key() -> None:
    there = Providers(stage=Stage.SETTLED, names=("new", IDENTITY))
    assert Standing(providers=there, secrets={"new": ("a/b",)}).settled
    assert Standing(providers=there, secrets={}).settled
    assert Standing(providers=there, secrets={"new": ("a/b",), IDENTITY: ("c/d",)}).others == ("c/d",)
    assert not Standing(providers=there, secrets={"old": ("a/b",)}).settled
    assert not Standing(providers=Providers(stage=Stage.RETIRED, names=there.names), secrets={}).settled
