"""How a registry asks for credentials: with a 401 that wants them itself (Basic) or names a token server (Bearer).

The token server may be another host than the registry [distribution: docs/spec/auth/token.md].
"""

from __future__ import annotations

import json
import re

import httpx

from kubewright.artifacts.access import Access
from kubewright.artifacts.credentials import Login, is_loopback
from kubewright.artifacts.download import client, fetch_text
from kubewright.errors import Failed

# The error about a header with other characters would quote it [RFC 6750, 2.1: b64token].
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")


def authorise(http: httpx.Client, access: Access, address: str) -> None:
    """Give `access` the header that the registry asks for at that address, if it asks for one."""
    try:
        response = http.head(address)
    except httpx.HTTPError:
        return  # the GET that follows meets the same, and says so
    # A redirect's host chooses no token server for the credentials of the registry.
    login = access.login if isinstance(access.login, Login) and access.is_for(response.url) else None
    for asked in response.headers.get_list("WWW-Authenticate"):
        if asked.lower().startswith("bearer "):
            fields = dict(re.findall(r'(\w+)="([^"]*)"', asked))
            access.header = f"Bearer {_token(address, fields, access, login)}"
            return
    if login and not response.is_success:
        # Some registries hide what an anonymous client may not read behind a 404, without a challenge.
        access.header = login.basic


def _token(address: str, fields: dict[str, str], access: Access, login: Login | None) -> str:
    realm = _realm(address, fields)
    if login and realm.scheme != "https" and not (is_loopback(realm.host) and is_loopback(login.host)):
        raise Failed(
            f"{address}: the registry names a token server without TLS ({realm.scheme}://{realm.host}); credentials are not "
            "sent there: let the registry name it with https"
        )
    asked: dict[str, str] = {name: fields[name] for name in ("service", "scope") if name in fields}
    own = Access(str(realm), login or access.login, login.basic if login else "")
    with client(own) as http:
        text = fetch_text(http, str(realm.copy_merge_params(asked)))
    try:
        answer = json.loads(text)
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError):
        token = None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise Failed(f"{address}: the token server {realm.host} answers without a token; check the mirror")
    return token


def _realm(address: str, fields: dict[str, str]) -> httpx.URL:
    try:
        realm = httpx.URL(fields.get("realm", ""))
    except httpx.InvalidURL:
        realm = httpx.URL("")
    if realm.scheme not in ("http", "https") or not realm.host or realm.userinfo:
        raise Failed(f"{address}: the registry asks for a token, and names no token server that can be used; check the mirror")
    return realm
