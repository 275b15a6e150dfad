"""`Host` over SSH."""

from __future__ import annotations

import base64
import io
import shlex
import tarfile
from collections.abc import Mapping, Sequence

import paramiko

from kubewright.errors import Failed
from kubewright.hosts import push
from kubewright.hosts.lock import BREAK, HOLD, HOLDER
from kubewright.hosts.patience import PATIENCE
from kubewright.hosts.remote import Answer, Remote
from kubewright.hosts.script import Staged
from kubewright.model.places import STATE
from kubewright.observe.observed import Observed
from kubewright.observe.text import parse
from kubewright.plan.desired import Payload

# One run at a time on a host: the next run waits here for commands that a killed run started. What those left half written
# goes: when a rollback wants the record that is there, nothing would be written over it.
_LOCKED = f"""umask 077; mkdir -p {STATE} && exec 9>/run/kubewright.lock || exit 71
flock -w 600 9 || {{ echo 'another run is still at work on this host' >&2; exit 71; }}
rm -rf {STATE}/.staged.* {STATE}/*.kubewright
"""
_ACT = f"""{_LOCKED}d=$(mktemp -d {STATE}/.staged.XXXXXX) && cd "$d" || exit 71
tar -xf - || {{ cd /; rm -rf "$d"; exit 71; }}
sh act.sh; status=$?; cd /; rm -rf "$d"; exit $status"""

_MEND = {
    "No space left on device": "free some space there, then run the same command again: it resumes from what is done",
    "Read-only file system": "find out why (dmesg), mount it writable again, then run the same command again",
}
"""Advice for errors of a host's own programs."""
OBSERVE_TIMEOUT = 660
"""Seconds: longer than the observing script waits for commands of a killed run."""


def _tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o600
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class SshHost:
    """See `Host`. `script` is the observing command."""

    def __init__(self, name: str, remote: Remote, observe: str) -> None:
        self.name, self.remote, self._observe = name, remote, observe
        self._held: paramiko.Channel | None = None

    @property
    def commands(self) -> int:
        return self.remote.commands

    @property
    def sent(self) -> int:
        return self.remote.sent

    def observe(self) -> Observed:
        answer = self.remote.run(self._observe, timeout=OBSERVE_TIMEOUT)
        if answer.status != 0:
            self._refuse(answer, "could not be observed")
        try:
            return parse(answer.stdout)
        except (ValueError, KeyError, IndexError) as error:
            raise Failed(f"{self.name}: its answer could not be read ({error}); is it one of the supported systems?") from error

    def push(self, payloads: Sequence[Payload]) -> None:
        timeout = PATIENCE + push.silence(payloads)
        answer = self.remote.run(_LOCKED + push.script(payloads), push.blocks(payloads), timeout=timeout)
        if answer.status != 0:
            self._refuse(answer, "did not get the binaries")

    def act(self, staged: Staged) -> None:
        answer = self.remote.run(_ACT, [_tar(staged.files)])
        if answer.status != 0:
            self._refuse(answer, "failed")

    def shell(self, script: str) -> str:
        answer = self.remote.run(script, timeout=60)
        return answer.stdout if answer.status == 0 else ""

    def read(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        quoted = " ".join(map(shlex.quote, paths))
        script = f'for f in {quoted}; do [ ! -f "$f" ] || {{ printf "%s " "$f"; base64 -w0 "$f"; echo; }}; done'
        lines = (line.split(" ", 1) for line in self.remote.run(script, timeout=60).stdout.splitlines())
        try:
            return {path: base64.b64decode(content, validate=True) for path, content in lines}
        except ValueError as error:
            raise Failed(f"{self.name}: its answer could not be read ({error}); run the same command again") from error

    def dial(self, address: str, port: int, timeout: float) -> paramiko.Channel:
        """See `kubewright.hosts.remote.Remote.dial`."""
        return self.remote.dial(address, port, timeout)

    def hold(self, holder: str) -> str | None:
        self._held, said = self.remote.hold(HOLD, holder)
        if said == "held":
            return None
        self.let_go()
        return said

    def let_go(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def break_hold(self) -> None:
        if self.remote.run(BREAK, timeout=60).status != 0:
            raise Failed(f"{self.name}: the process that holds the lock does not end; look at {HOLDER} on the host")

    def record(self, line: str) -> None:
        script = f"umask 077; mkdir -p {STATE} && cat >> {STATE}/journal.jsonl"
        answer = self.remote.run(script, [line.encode() + b"\n"], timeout=60)
        if answer.status != 0:
            self._refuse(answer, "did not take the journal")

    def _refuse(self, answer: Answer, what: str) -> None:
        said = "\n  ".join(answer.stderr.strip().splitlines()[-20:]) or f"exit status {answer.status}"
        todo = next((f"\n  {todo}" for words, todo in _MEND.items() if words in answer.stderr), "")
        raise Failed(f"{self.name}: {what}:\n  {said}{todo}")
