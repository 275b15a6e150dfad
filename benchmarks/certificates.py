"""Certificates of many nodes, issued by `pki` and by the openssl command line in the same run.

Seconds are CPU time of both, child processes included.
"""

from __future__ import annotations

import datetime as dt
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import clusters
from benchmarks.figures import Figure
from kubewright.model.build import make_plan
from kubewright.model.certificates import leaves
from kubewright.spec import loads
from pki import decisions
from pki.authorities import AUTHORITIES, SERVICE_ACCOUNT
from pki.decisions import Leaf
from pki.store import Store

GROUP = "certificates, P-256 (CPU s)"
SAMPLE = 200
"""The number that openssl issues: all are alike, and each takes a process."""


def _cpu() -> float:
    """CPU seconds of this process and of its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _authority(folder: Path) -> None:
    command = [*_new_key(folder / "ca"), "-days", "3650", "-subj", "/CN=kubernetes-ca"]
    subprocess.run(command, check=True, capture_output=True)


def _new_key(path: Path) -> list[str]:
    """A key and a certificate in one process: the least that openssl needs (req, then x509 -req would be three)."""
    return ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc",
            "-keyout", f"{path}.key", "-out", f"{path}.crt"]  # fmt: skip


def _openssl(leaf: Leaf, folder: Path, number: int) -> None:
    subject = leaf.subject
    names = [f"DNS:{n}" for n in subject.dns_names] + [f"IP:{a}" for a in subject.addresses]
    said = "".join(f"/O={o}" for o in subject.organizations) + f"/CN={subject.common_name}"
    usages = ",".join(f"{usage}Auth" for usage in subject.usages)
    command = [*_new_key(folder / str(number)), "-CA", f"{folder}/ca.crt", "-CAkey", f"{folder}/ca.key", "-days", "365"]
    command += ["-subj", said, "-addext", f"extendedKeyUsage={usages}", "-addext", "basicConstraints=critical,CA:FALSE"]
    if names:
        command += ["-addext", f"subjectAltName={','.join(names)}"]
    subprocess.run(command, check=True, capture_output=True)


def measure(count: int, say: Callable[[str], None]) -> Iterator[Figure]:
    """Issue all certificates of `count` nodes, check them again, and sample openssl."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        plan = make_plan(loads(clusters.document(clusters.addresses(count)).encode(), folder=folder))
        wanted, store, now = leaves(plan), Store(folder), dt.datetime.now(dt.UTC)
        say(f"issuing {len(wanted)} certificates")
        began = _cpu()
        done = decisions.carry_out(AUTHORITIES, wanted, (SERVICE_ACCOUNT,), store, plan.certificates, now)
        ours = _cpu() - began
        assert len(done) == len(wanted) + len(AUTHORITIES) + 1
        began = _cpu()
        decided = decisions.decide(AUTHORITIES, wanted, (SERVICE_ACCOUNT,), Store(folder), plan.certificates, now)
        again = _cpu() - began
        assert all(d.verdict is decisions.Verdict.KEEP for d in decided)
        say(f"issuing {SAMPLE} with openssl")
        _authority(folder)
        # Spread over all, for the same mix of kinds.
        sample = wanted[:: max(1, len(wanted) // SAMPLE)][:SAMPLE]
        began = _cpu()
        for number, leaf in enumerate(sample):
            _openssl(leaf, folder, number)
        theirs = (_cpu() - began) / len(sample) * len(wanted)
    scaled = f"openssl: {len(sample)} leaves, one process each, scaled to {len(wanted):,}"
    yield Figure(
        group=GROUP,
        name=f"{len(wanted):,} leaves of {count} nodes issued and stored",
        samples=(ours,),
        against=f"openssl req ({theirs:.1f} s)",
        base=theirs,
        note=scaled,
    )
    yield Figure(
        group=GROUP,
        name="looked at again, all kept",
        samples=(again,),
        against="issuing them",
        base=ours,
        note="every plan and no-op does this",
    )
