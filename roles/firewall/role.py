"""Open ports in firewalld: exactly the ports of a host's roles, each for its clients only. Other firewalls stay unchanged.

Policy objects of our own (firewalld 0.9 and later) leave the host's zones as its owner wrote them.
"""

from __future__ import annotations

from functools import lru_cache

from kubewright.model.cluster import Plan
from kubewright.plan.context import Context, render
from kubewright.plan.desired import Desired, File
from kubewright.plan.role import Port, Role, on_every_host

# Put in place first, since firewalld reads the file itself; if firewalld rejects it, the old file is restored. Its mode
# differs until firewalld has accepted it, so that after a kill the next run repeats this.
_APPLY = """
[ ! -f "$path" ] || cp -p "$path" "$here/firewall.before"
install -D -m 0600 "$new" "$path"
if firewall-cmd -q --check-config && firewall-cmd -q --reload; then exit 0; fi
if [ -f "$here/firewall.before" ]; then cp -p "$here/firewall.before" "$path"; else rm -f "$path"; fi
firewall-cmd -q --reload
exit 1
"""


def _sources(plan: Plan, port: Port) -> tuple[str, ...]:
    """Addresses; a single empty one means all."""
    return plan.addresses.get(port.clients or "", ("",))


PATHS = {name: f"/etc/firewalld/policies/{name}.xml" for name in ("kubewright", "kubewright-pods")}


def _file(name: str, template: str, **values: object) -> File:
    path = PATHS[name]
    return File(path=path, content=render(template, **values), apply=_APPLY, title=f"open the firewall ({path})")


@lru_cache(maxsize=16)
def _openings(openings: tuple[tuple[int, str, tuple[str, ...]], ...]) -> File:
    """Hosts of one kind open the same ports to the same addresses: a rule for each node, rendered once for all hosts."""
    rules = [
        {"source": source, "number": number, "protocol": protocol} for number, protocol, sources in openings for source in sources
    ]
    return _file("kubewright", "firewall/host.xml.j2", rules=rules)


def role_for(roles: tuple[Role, ...]) -> Role:
    """The role that opens the ports of `roles`."""

    def ports(context: Context) -> tuple[Port, ...]:
        plan, node = context.plan, context.node
        return tuple(p for role in roles if role.runs_on(node) for p in role.ports(plan, node) if p.clients)

    def desired(context: Context) -> Desired:
        if not context.observed.firewalld:
            return Desired()
        late = [_openings(tuple((p.number, p.protocol, _sources(context.plan, p)) for p in ports(context)))]
        if context.node.runs_pods:
            late.append(_file("kubewright-pods", "firewall/pods.xml.j2", pods=context.plan.pods))
        return Desired(late=tuple(late))

    return Role(name="firewall", runs_on=on_every_host, after=("base",), paths=tuple(PATHS.values()), desired=desired)
