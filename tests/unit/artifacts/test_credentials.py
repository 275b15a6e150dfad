"""A file mirror gets its password over TLS, from netrc; no other server does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kubewright.artifacts import Cache, release
from kubewright.artifacts.credentials import Login, NoLogin, login_for
from kubewright.cli.artifacts import app
from kubewright.errors import BadInput
from tests.support.mirrors import BASIC, FILE, PASSWORD, USER, Guard, Site, docker, fetch, logged_in, netrc, refused


def test_a_mirror_gets_the_credentials_of_netrc(files: Site, cache: Cache) -> None:
    netrc()
    assert fetch(files.at("mirror.test"), cache).path.read_bytes() == b"kubectl"
    assert files.sent_to("mirror.test") == {BASIC}


def test_the_variable_netrc_names_another_file(
    files: Site, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc().rename(tmp_path / "ci")
    monkeypatch.setenv("NETRC", str(tmp_path / "ci"))
    assert fetch(files.at("mirror.test"), cache)


def test_a_file_server_gets_no_credentials_of_docker(files: Site, cache: Cache) -> None:
    logged_in(files)
    assert "401, no credentials for mirror.test (none in " in refused(fetch, files.at("mirror.test"), cache)
    assert files.sent_to("mirror.test") == {""}


@pytest.mark.parametrize(("host", "tls"), [("files.test", True), ("mirror.test", False)])
def test_a_redirect_to_another_host_or_to_http_gets_none(files: Site, cache: Cache, host: str, tls: bool) -> None:
    netrc("".join(f'machine {name} login {USER} password "{PASSWORD}"\n' for name in ("mirror.test", "files.test")))
    files.guards.clear()
    files.moved[FILE] = files.at(host, tls=tls)
    assert fetch(files.at("mirror.test"), cache).path.read_bytes() == b"kubectl"
    assert [(name, sent) for name, path, sent in files.heard if path == FILE] == [("mirror.test", BASIC), (host, "")]


def test_over_http_none_are_sent_and_the_refusal_says_so(files: Site, cache: Cache) -> None:
    netrc()
    base = files.at("mirror.test", tls=False)
    assert refused(fetch, base, cache) == (
        f"{base}{FILE}.sha256: 401, no credentials for mirror.test (credentials are not sent over http); "
        "name the mirror with https://"
    )
    assert files.sent_to("mirror.test") == {""}


def test_over_http_a_mirror_that_asks_for_none_serves(files: Site, cache: Cache) -> None:
    netrc(mode=0o644)
    files.guards.clear()
    assert fetch(files.at("mirror.test", tls=False), cache) and files.sent_to("mirror.test") == {""}


def test_over_http_this_machine_itself_gets_them(files: Site, cache: Cache) -> None:
    netrc(f'machine localhost login {USER} password "{PASSWORD}"\n')
    assert fetch(files.at("localhost", tls=False), cache) and files.sent_to("localhost") == {BASIC}


def test_this_machine_gets_them_without_a_proxy_that_could_read_them(
    files: Site, cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc(f'machine localhost login {USER} password "{PASSWORD}"\n')
    monkeypatch.setenv("http_proxy", files.at("files.test", tls=False))
    assert fetch(files.at("localhost", tls=False), cache)
    # A request to a proxy has the whole URL in place of the path.
    assert [path for _, path, _ in files.heard] == [f"{FILE}.sha256", FILE]


@pytest.mark.parametrize("text", ["default login u password p\n", "machine mirror.test.example login u password p\n", "\n"])
def test_without_an_entry_for_the_host_the_refusal_says_where_to_add_one(files: Site, cache: Cache, text: str) -> None:
    path, base = netrc(text), files.at("mirror.test")
    assert refused(fetch, base, cache) == (
        f"{base}{FILE}.sha256: 401, no credentials for mirror.test (none in {path}); "
        f"add `machine mirror.test login USER password PASSWORD` to {path} (mode 0600)"
    )
    assert files.sent_to("mirror.test") == {""}


@pytest.mark.parametrize("status", [401, 403])
def test_refused_credentials_are_named_by_their_host_and_file(files: Site, cache: Cache, status: int) -> None:
    path, base = netrc(), files.at("mirror.test")
    files.guards["mirror.test"] = Guard(accepts="other", status=status)
    assert refused(fetch, base, cache) == (
        f"{base}{FILE}.sha256: {status}, the credentials for mirror.test were refused (those in {path}); "
        "check the user, the password and the account's rights"
    )


def test_a_refusal_by_a_redirects_host_names_that_host(files: Site, cache: Cache) -> None:
    netrc()
    files.moved[FILE] = files.at("files.test")
    files.guards["files.test"] = Guard(accepts=BASIC, status=403)
    said = refused(fetch, files.at("mirror.test"), cache)
    assert "mirror.test redirects to files.test, which answers 403; credentials are not sent there" in said
    assert files.sent_to("files.test") == {""}


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("", 0o644, "others can read FILE (mode 0644)); chmod 600 FILE"),
        (f"machine mirror.test password {PASSWORD}\n", 0o600, "the entry in FILE lacks a login or a password); complete it"),
        (f"\nmachine mirror.test {PASSWORD} x\n", 0o600, "FILE:2 is not netrc's format); correct that line"),
    ],
)
def test_an_entry_that_cannot_be_used_is_not_sent(files: Site, cache: Cache, text: str, mode: int, why: str) -> None:
    path = netrc(text, mode=mode)
    assert why.replace("FILE", str(path)) in refused(fetch, files.at("mirror.test"), cache)
    assert files.sent_to("mirror.test") == {""}


def test_upstream_gets_none() -> None:
    assert release._access(None) is None


AUTH = BASIC.split()[1]


@pytest.mark.parametrize(
    "name",
    ["mirror.test", "MIRROR.test", "mirror.test:443", "https://mirror.test", "https://mirror.test/v1/", "mirror.test/team"],
)
def test_keys_of_docker_name_a_host_in_many_ways(site: Site, name: str) -> None:
    path = docker({"auths": {name: {"auth": AUTH}}})
    assert login_for("https://mirror.test/base", image=True) == Login(host="mirror.test", user=USER, password=PASSWORD, file=path)


def test_the_usual_port_may_be_written_or_not(site: Site) -> None:
    path = docker({"auths": {"mirror.test": {"auth": AUTH}}})
    found = login_for("https://mirror.test:443/base", image=True)
    assert isinstance(found, Login) and found.file == path


@pytest.mark.parametrize("name", ["other.test", "mirror.test:8443", "test", "x.mirror.test"])
def test_another_host_or_port_is_not_the_mirror(site: Site, name: str) -> None:
    docker({"auths": {name: {"auth": AUTH}}})
    assert isinstance(login_for("https://mirror.test/base", image=True), NoLogin)


@pytest.mark.parametrize(
    ("config", "mode", "why"),
    [
        ({"auths": {"mirror.test": {"auth": AUTH}}}, 0o640, "others can read FILE (mode 0640)"),
        ({"auths": {"mirror.test": {}}, "credsStore": "desktop"}, 0o600, "FILE names a credential helper for it, and kubewright"),
        ({"credHelpers": {"mirror.test": "ecr-login"}}, 0o600, "FILE names a credential helper for it, and kubewright runs none"),
        ({"auths": {"mirror.test": {"identitytoken": "x"}}}, 0o600, "the entry in FILE has no `auth`"),
        ({"auths": {"mirror.test": {"auth": "*"}}}, 0o600, "`auth` of the entry in FILE is not USER:PASSWORD in base64"),
        ({"auths": {"mirror.test": {"auth": "dXNlcg=="}}}, 0o600, "`auth` of the entry in FILE is not USER:PASSWORD in base64"),
        ("{", 0o600, "FILE cannot be read as Docker's config.json"),
        ("[]", 0o600, "FILE cannot be read as Docker's config.json"),
    ],
)
def test_an_unusable_entry_of_docker_is_reported_and_netrc_serves_instead(site: Site, config: Any, mode: int, why: str) -> None:
    path = docker(config, mode=mode)
    found = login_for("https://mirror.test", image=True)
    assert isinstance(found, NoLogin) and found.why.startswith(why.replace("FILE", str(path))) and found.todo
    file = netrc()
    used = login_for("https://mirror.test", image=True)
    assert isinstance(used, Login) and used.file == file


def test_a_helper_for_another_registry_does_not_matter(site: Site) -> None:
    docker({"credsStore": "desktop", "credHelpers": {"other.test": "ecr-login"}})
    found = login_for("https://mirror.test", image=True)
    assert isinstance(found, NoLogin) and found.why.startswith("none in ") and "docker login mirror.test" in found.todo


def test_a_login_does_not_show_its_password() -> None:
    assert PASSWORD not in repr(Login(host="h", user=USER, password=PASSWORD, file=Path("f")))


@pytest.mark.parametrize(
    "address",
    [
        f"https://{USER}:{PASSWORD}@mirror.test",
        f"https://me:{PASSWORD[:6]}@mirror.test",
        f"https://{PASSWORD[:6]}@mirror.test",
        "https://mirror.test:port",
        "https://",
    ],
)
def test_a_mirrors_address_with_a_password_or_without_a_host_is_bad_input_and_not_shown(address: str, cache: Cache) -> None:
    with pytest.raises(BadInput) as caught:
        fetch(address, cache)
    assert "(not shown)" in str(caught.value) and "mirror.test" not in str(caught.value)
    result = CliRunner().invoke(app, ["fetch", "--source", "mirror", "--mirror", address])
    assert isinstance(result.exception, BadInput) and PASSWORD[:6] not in result.output + str(result.exception)
