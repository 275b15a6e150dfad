"""A registry that asks for a password: itself, or through a token server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubewright.artifacts import Cache
from tests.support.mirrors import BASIC, MANIFEST, PASSWORD, USER, Guard, Site, docker, fetch, logged_in, netrc, pull, refused


def test_a_registry_that_asks_for_basic_gets_what_docker_login_left(images: Site, cache: Cache) -> None:
    logged_in(images)
    assert pull(images.at("mirror.test"), cache).reference.startswith("registry.k8s.io/pause")
    first, *later = [sent for _, _, sent in images.heard]
    assert first == "" and set(later) == {BASIC}


def test_a_registry_takes_the_credentials_of_netrc_too(images: Site, cache: Cache) -> None:
    netrc()
    assert pull(images.at("mirror.test"), cache)


def test_a_registry_that_hides_images_behind_a_404_gets_them(images: Site, cache: Cache) -> None:
    logged_in(images)
    images.guards["mirror.test"] = Guard(accepts=BASIC, status=404, challenge="")
    assert pull(images.at("mirror.test"), cache)


def asks_for_tokens(site: Site, realm: str, token: str = "t0ken") -> None:  # noqa: S107
    challenge = f'Bearer realm="{realm}/token?client=docker",service="s",scope="repository:pause:pull",error="invalid_token"'
    site.guards["mirror.test"] = Guard(accepts="Bearer t0ken", challenge=challenge)
    site.guards["tokens.test"] = Guard(accepts=BASIC)
    site.files["/token?client=docker&service=s&scope=repository%3Apause%3Apull"] = json.dumps({"token": token}).encode()


def test_a_token_server_on_another_host_gets_the_password_and_the_registry_the_token(images: Site, cache: Cache) -> None:
    logged_in(images)
    asks_for_tokens(images, images.at("tokens.test"))
    assert pull(images.at("mirror.test"), cache)
    assert images.sent_to("tokens.test") == {BASIC} and images.sent_to("mirror.test") == {"", "Bearer t0ken"}


def test_a_token_server_without_tls_is_refused(images: Site, cache: Cache) -> None:
    logged_in(images)
    asks_for_tokens(images, images.at("tokens.test", tls=False))
    said = refused(pull, images.at("mirror.test"), cache)
    assert "names a token server without TLS (http://tokens.test); credentials are not sent there" in said
    assert images.sent_to("tokens.test") == set()


def test_a_remote_registry_cannot_have_them_sent_to_a_port_of_this_machine(images: Site, cache: Cache) -> None:
    logged_in(images)
    asks_for_tokens(images, images.at("localhost", tls=False))
    assert "without TLS" in refused(pull, images.at("mirror.test"), cache) and images.sent_to("localhost") == set()


def test_a_token_server_that_refuses_them_is_named(images: Site, cache: Cache) -> None:
    path = logged_in(images)
    asks_for_tokens(images, images.at("tokens.test"))
    images.guards["tokens.test"] = Guard(accepts="other")
    said = refused(pull, images.at("mirror.test"), cache)
    assert (
        said.startswith(images.at("tokens.test"))
        and f"401, the credentials for mirror.test were refused (those in {path})" in said
    )


def test_a_token_is_asked_for_without_credentials_where_there_are_none(images: Site, cache: Cache) -> None:
    asks_for_tokens(images, images.at("tokens.test"))
    del images.guards["tokens.test"]
    assert pull(images.at("mirror.test"), cache) and images.sent_to("tokens.test") == {""}


def test_a_redirects_host_cannot_name_a_token_server_for_them(images: Site, cache: Cache) -> None:
    logged_in(images)
    asks_for_tokens(images, images.at("tokens.test"))
    images.guards["files.test"] = images.guards.pop("mirror.test")
    images.moved[MANIFEST] = images.at("files.test")
    said = refused(pull, images.at("mirror.test"), cache)
    assert images.sent_to("tokens.test") == {""} and said.startswith(images.at("tokens.test"))


@pytest.mark.parametrize("token", ["", "a b", "a\nX-Other: b"])
def test_an_unusable_token_is_not_quoted(images: Site, cache: Cache, token: str) -> None:
    logged_in(images)
    asks_for_tokens(images, images.at("tokens.test"), token)
    said = refused(pull, images.at("mirror.test"), cache)
    assert said.endswith("the token server tokens.test answers without a token; check the mirror")


@pytest.mark.parametrize("answer", [b"not JSON", b"[]", b'{"token": 1}'])
def test_an_answer_without_a_token_is_refused(images: Site, cache: Cache, answer: bytes) -> None:
    logged_in(images)
    asks_for_tokens(images, images.at("tokens.test"))
    images.files = {path: answer if path.startswith("/token") else body for path, body in images.files.items()}
    assert "answers without a token" in refused(pull, images.at("mirror.test"), cache)


@pytest.mark.parametrize("challenge", ["Bearer service=x", 'Bearer realm="/token"', f'Bearer realm="https://u:{PASSWORD}@x/"'])
def test_a_challenge_without_a_token_server_is_refused(images: Site, cache: Cache, challenge: str) -> None:
    images.guards["mirror.test"] = Guard(accepts="other", challenge=challenge)
    assert "names no token server that can be used" in refused(pull, images.at("mirror.test"), cache)


def test_a_blob_that_lies_on_another_host_is_fetched_without_the_token(images: Site, cache: Cache) -> None:
    logged_in(images)
    asks_for_tokens(images, images.at("tokens.test"))
    images.moved |= {path: images.at("files.test") for path in images.files if "/blobs/" in path}
    assert pull(images.at("mirror.test"), cache) and images.sent_to("files.test") == {""}


def test_over_http_a_registry_gets_none(images: Site, cache: Cache) -> None:
    netrc()
    docker({"auths": {"mirror.test": {"auth": BASIC.split()[1]}}})
    assert "credentials are not sent over http" in refused(pull, images.at("mirror.test", tls=False), cache)
    assert images.sent_to("mirror.test") == {""}


def test_no_file_has_the_credentials(images: Site, files: Site, cache: Cache, tmp_path: Path) -> None:
    logged_in(images), netrc()
    lock = tmp_path / "artifacts.lock"
    asks_for_tokens(images, images.at("tokens.test"))
    pull(images.at("mirror.test"), cache, lock)
    files.guards["mirror.test"] = Guard(accepts=BASIC)
    fetch(files.at("mirror.test"), cache, lock)
    kept = [path for path in (lock, *cache.root.rglob("*")) if path.is_file()]
    assert lock in kept and len(kept) > 4
    for secret in (PASSWORD, USER, BASIC.split()[1], "t0ken"):
        assert not [path for path in kept if secret.encode() in path.read_bytes() or secret in path.name]
