"""Images for the sources `release` and `mirror`: pulled from their registry into an OCI archive.

Everything in a registry is named by its digest, from the manifest down; the manifest's own digest is pinned in
artifacts.lock at first use. A mirror serves `<mirror>/<registry>/v2/...`.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import httpx

from kubewright.artifacts.access import Access
from kubewright.artifacts.cache import Cache, Entry
from kubewright.artifacts.challenge import authorise
from kubewright.artifacts.credentials import login_for
from kubewright.artifacts.download import client, fetch_file, fetch_text
from kubewright.artifacts.lockfile import LockFile
from kubewright.artifacts.model import Say
from kubewright.artifacts.upstream import through_mirror
from kubewright.errors import Failed

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")


def key(reference: str, arch: str, mirror: str | None) -> str:
    kind = "release" if mirror is None else "mirror." + hashlib.sha256(mirror.encode()).hexdigest()[:12]
    return f"image-{kind}-{reference.replace('/', '_').replace(':', '-')}-{arch}"


def cached(reference: str, arch: str, mirror: str | None, lock: LockFile, cache: Cache) -> Entry | None:
    """The entry, if its manifest is the pinned one (or none is pinned)."""
    entry = cache.peek(key(reference, arch, mirror))
    pinned = lock.read().get(reference)
    if entry is None or (pinned is not None and pinned != entry.recipe):
        return None
    if pinned is None:
        lock.pin(reference, entry.recipe)
    return entry


def pull(reference: str, arch: str, mirror: str | None, lock: LockFile, cache: Cache, say: Say) -> Entry:
    """Pull one architecture's image into the cache. Failed when the registry has none for it, or it has changed."""
    host, _, rest = reference.partition("/")
    repository, _, tag = rest.rpartition(":")
    base = through_mirror(f"https://{host}/v2/{repository}", mirror)
    name = key(reference, arch, mirror)
    access = Access(base, login_for(base, image=True) if mirror else None)
    # One lock for all: images share layers, and only one process may download a layer.
    with client(access) as http, cache.lock("registry"):
        if entry := cached(reference, arch, mirror, lock, cache):
            return entry  # another process pulled it meanwhile
        say(f"{reference} {arch}: pulling")
        http.headers["Accept"] = ", ".join((*INDEXES, *MANIFESTS))
        authorise(http, access, f"{base}/manifests/{tag}")
        top = fetch_text(http, f"{base}/manifests/{tag}").encode()
        top_sha256 = hashlib.sha256(top).hexdigest()
        lock.check(reference, top_sha256)
        manifest = _for_arch(http, base, reference, top, arch)
        with cache.workplace(name) as place:
            blobs = {_hex(one["digest"]): one for one in (manifest["config"], *manifest["layers"])}
            files = {sha: fetch_file(http, f"{base}/blobs/sha256:{sha}", sha, cache, say) for sha in blobs}
            archive = place / "image.tar"
            _write_oci(archive, reference, manifest, files)
            entry = cache.add(name, archive, version=tag.removeprefix("v"), recipe=top_sha256)
            for file in files.values():
                file.unlink()
    lock.pin(reference, top_sha256)
    return entry


def _for_arch(http: httpx.Client, base: str, reference: str, top: bytes, arch: str) -> dict[str, Any]:
    """The manifest of that architecture: the tag's own, or the one that the tag's index names."""
    parsed: dict[str, Any] = json.loads(top)
    if "manifests" not in parsed:
        return parsed
    for one in parsed["manifests"]:
        platform = one.get("platform", {})
        if (platform.get("os"), platform.get("architecture")) == ("linux", arch):
            sha256 = _hex(one["digest"])
            text = fetch_text(http, f"{base}/manifests/sha256:{sha256}").encode()
            if hashlib.sha256(text).hexdigest() != sha256:
                raise Failed(f"{reference}: the manifest for {arch} is not what the index names; use another --source")
            chosen: dict[str, Any] = json.loads(text)
            return chosen
    raise Failed(f"{reference}: the registry has no linux/{arch} image; use --source gomod")


def _hex(digest: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise Failed(f"a manifest names a digest that cannot be used ({digest}); sha256 is expected")
    return digest.removeprefix("sha256:")


def _write_oci(target: Path, reference: str, manifest: dict[str, Any], files: dict[str, Path]) -> None:
    """An OCI image layout as a tar, blobs unchanged; `ctr` takes the image's name from the annotation."""
    body = json.dumps(manifest, sort_keys=True).encode()
    sha256 = hashlib.sha256(body).hexdigest()
    index = {
        "schemaVersion": 2,
        "manifests": [
            {
                "mediaType": manifest.get("mediaType", MANIFESTS[0]),
                "digest": f"sha256:{sha256}",
                "size": len(body),
                "annotations": {"io.containerd.image.name": reference},
            }
        ],
    }
    texts = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps(index, sort_keys=True).encode(),
        f"blobs/sha256/{sha256}": body,
    }
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text))
        for sha, file in sorted(files.items()):
            info = tarfile.TarInfo(f"blobs/sha256/{sha}")
            info.size = file.stat().st_size
            with file.open("rb") as stream:
                archive.addfile(info, stream)
