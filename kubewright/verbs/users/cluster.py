"""The cluster's side: kubectl on a master, over SSH. Objects go through standard input; nothing secret is an argument."""

from __future__ import annotations

import json
from collections.abc import Sequence

from kubewright.errors import Failed
from kubewright.spec import ClusterSpec
from kubewright.verbs.kubectl import SSH_FAILED, captured
from kubewright.verbs.users import manifests
from kubewright.verbs.users.credential import Credential, Object
from kubewright.verbs.users.removal import Removal
from kubewright.verbs.users.wanted import HOME

_ALLOWED = 'jsonpath={.status.allowed}{"\\n"}'


class Cluster:
    """The cluster's side of `user`. Every method raises Failed, with kubectl's error, when it fails."""

    def __init__(self, spec: ClusterSpec) -> None:
        self.spec = spec

    def _kubectl(self, *arguments: str, documents: Sequence[Object] = ()) -> bytes:
        stdin = json.dumps(manifests.items(documents)).encode() if documents else b""
        done = captured(self.spec, arguments, stdin)
        if done.returncode == SSH_FAILED:
            raise Failed(f"kubectl {arguments[0]}: the SSH connection to the master broke; run the same command again")
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise Failed(f"kubectl {arguments[0]}: {said or f'exit status {done.returncode}'}")
        return done.stdout

    def belongings(self) -> list[Object]:
        """The objects that kubewright made for people."""
        selector = ",".join(f"{key}={value}" for key, value in manifests.MANAGED.items())
        return self._items("get", manifests.KINDS, "--all-namespaces", f"--selector={selector}")

    def everything(self) -> list[Object]:
        """Every object of `manifests.KINDS`, also those of other programs."""
        return self._items("get", manifests.KINDS, "--all-namespaces")

    def namespaces(self) -> frozenset[str]:
        return frozenset(item["metadata"]["name"] for item in self._items("get", "namespaces"))

    def _items(self, *arguments: str) -> list[Object]:
        return list(json.loads(self._kubectl(*arguments, "--output=json"))["items"])

    def create(self, objects: Sequence[Object]) -> None:
        """Refused when an object exists already, so that nothing of another person is overwritten."""
        if objects:
            self._kubectl("create", "--filename=-", documents=objects)

    def remove(self, due: Removal) -> None:
        """A missing object is no failure; an object that changed since it was read is one."""
        if due.delete:
            self._kubectl("delete", "--filename=-", "--ignore-not-found", documents=due.delete)
        if due.replace:
            self._kubectl("replace", "--filename=-", documents=due.replace)

    def token(self, credential: Credential, *, days: int) -> tuple[str, str]:
        """A bound token of the credential's service account, and when it expires (RFC 3339)."""
        wanted = ("create", "token", credential.account, f"--namespace={HOME}", f"--duration={days * 24}h", "--output=json")
        status = json.loads(self._kubectl(*wanted))["status"]
        return str(status["token"]), str(status["expirationTimestamp"])

    def allowed(self, address: object, reviews: Sequence[Object]) -> Sequence[str] | None:
        """The reviews that the apiserver at `address` allows, in words; None when it does not answer."""
        server = f"--server=https://{address}:{self.spec.api.port}"
        command = ("create", "--filename=-", server, "--request-timeout=5s", f"--output={_ALLOWED}")
        try:
            answers = self._kubectl(*command, documents=reviews).decode().split()
        except Failed:
            return None
        yes = [review for review, answer in zip(reviews, answers, strict=True) if answer != "false"]
        asked = [review["spec"]["resourceAttributes"] for review in yes]
        return [f"{one['verb']} {one['resource']} {one.get('namespace') or one.get('name')}" for one in asked]
