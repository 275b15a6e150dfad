"""Sends every binary and image archive that a host's roles need, each into a versioned folder; activates none.

One stream per host, before anything stops.
"""

from __future__ import annotations

from kubewright.plan.context import Context
from kubewright.plan.desired import Desired
from kubewright.plan.role import Role, on_every_host
from kubewright.releases.addons import images_of


def role_for(roles: tuple[Role, ...]) -> Role:
    """The role that sends the binaries of `roles`. Hosts that run pods get the images of roles and add-ons, and the archives."""
    images = tuple(image for role in roles for image in role.images)

    def desired(context: Context) -> Desired:
        binaries = {b: None for role in roles if role.runs_on(context.node) for b in role.binaries}
        every = (*images, *images_of(addon.name for addon in context.plan.addons))
        archives = tuple(context.image(i) for i in every) if context.node.runs_pods else ()
        own = tuple(map(context.archive, context.bundle.archives)) if context.node.runs_pods else ()
        return Desired(payloads=(*(context.payload(b) for b in binaries), *archives, *own))

    return Role(name="binaries", runs_on=on_every_host, after=("base",), desired=desired)
