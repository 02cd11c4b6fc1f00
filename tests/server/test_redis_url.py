"""The URL of Redis: every option does what it says, or is refused; against real servers, with TLS, and a cluster."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from ports import free_port
from serve_process import ask, opened, run, served

from abr.errors import InputError
from server.redis_url import read_redis_url


@pytest.fixture(autouse=True)
def nothing_blocks() -> None:
    """These tests serve from another process."""


def test_what_a_url_says_is_understood():
    address = read_redis_url("redis://user:p%40ss@redis.internal:6380/2?client_name=toprung")
    assert (address.host, address.port, address.db) == ("redis.internal", 6380, 2)
    assert (address.username, address.password, address.client_name) == ("user", "p@ss", "toprung")
    assert address.tls is None
    local = read_redis_url("unix:///run/100%25%20redis.sock?db=3&password=x")
    assert (local.path, local.db, local.password) == ("/run/100% redis.sock", 3, "x")
    assert read_redis_url("redis://") == read_redis_url("redis://localhost:6379/0")
    checked, unchecked = read_redis_url("rediss://h").tls, read_redis_url("rediss://h?ssl_cert_reqs=none").tls
    assert checked and unchecked
    assert (checked.check_hostname, unchecked.check_hostname) == (True, False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://redis:6379", "redis://, rediss:// or unix://"),
        ("redis.internal:6379", "redis://, rediss:// or unix://"),
        ("redis://h:port/0", "cannot be read"),
        ("redis://h/zero", "names the database 'zero'"),
        ("redis://h?ssl_ca_certs=/x", "needs rediss://"),
        ("redis://h?client_nam=x", "Did you mean 'client_name'"),
        ("redis://h?socket_timeout=3", "redis_timeout_s"),
        ("redis://h?db", "cannot be read"),
        ("rediss://h?ssl_ca_certs=/nowhere.pem", "/nowhere.pem"),
        ("rediss://h?ssl_certfile=/nowhere.pem", "/nowhere.pem"),
        ("rediss://h?ssl_keyfile=/key.pem", "needs ssl_certfile"),
        ("rediss://h?ssl_ca_certs=/x&ssl_password=p", "needs ssl_certfile"),
        ("rediss://h?ssl_cert_reqs=perhaps", "none, optional or required"),
        ("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=true", "hosts have certificates"),
    ],
)
def test_what_a_url_cannot_say_is_refused(url, said):
    with pytest.raises(InputError, match=said) as error:
        read_redis_url(url.replace("//h", "//user:s3cret@h"))
    assert "s3cret" not in str(error.value)


@contextmanager
def running(folder: Path, *options: str) -> Iterator[int]:
    """A redis-server with these options, PORT standing for a free port, which is yielded."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine; install Debian's package redis-server")
    port = free_port(below=55_000)  # a cluster also listens 10,000 above
    told = [option.replace("PORT", str(port)) for option in options]
    process = subprocess.Popen([program, *told, "--save", "", "--dir", str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert any("eady to accept connections" in line for line in process.stdout), "it did not start"
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and a certificate of it for localhost, for server and client alike."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl on this machine")
    folder = tmp_path_factory.mktemp("certificates")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key"]
    subject = ["-subj", "/CN=localhost", "-nodes", "-newkey", "rsa:2048"]
    for command in (
        ["req", "-x509", *subject, "-keyout", "ca.key", "-out", "ca.pem"],
        ["req", "-x509", *subject, "-keyout", "other.key", "-out", "other.pem"],
        ["req", *subject, "-keyout", "key.pem", "-out", "request.pem", "-addext", "subjectAltName=DNS:localhost"],
        ["x509", "-req", "-in", "request.pem", *signed, "-copy_extensions", "copy", "-out", "cert.pem"],
    ):
        subprocess.run(["openssl", *command], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_redis_behind_tls_is_reached_with_its_authority_and_a_certificate(library, certificates, tmp_path):
    files = {name: str(certificates / f"{name}.pem") for name in ("ca", "other", "cert", "key")}
    tls = ("--tls-cert-file", files["cert"], "--tls-key-file", files["key"], "--tls-ca-cert-file", files["ca"])
    with running(tmp_path, "--port", "0", "--tls-port", "PORT", *tls) as port:
        own = f"ssl_certfile={files['cert']}&ssl_keyfile={files['key']}"
        url = f"rediss://localhost:{port}/1?ssl_ca_certs={files['ca']}&{own}&client_name=toprung"
        with served("--library", str(library), "--redis-url", url) as server:
            assert ask(f"{server}{opened(server)}/video/1.m4s")[0] == 200
            with redis.Redis.from_url(url) as client:
                assert {each["name"] for each in client.client_list()} == {"toprung"}
                assert list(client.scan_iter("toprung:session:*"))
        for refused in (f"ssl_ca_certs={files['other']}&{own}", own, f"ssl_ca_certs={files['ca']}"):
            result = run("--library", str(library), "--redis-url", f"rediss://localhost:{port}/1?{refused}")
            assert result.returncode == 1
            assert "does not answer" in result.stderr and "Traceback" not in result.stderr


def test_a_cluster_is_told_at_the_start(library, tmp_path):
    with running(tmp_path, "--port", "PORT", "--cluster-enabled", "yes") as port:
        result = run("--library", str(library), "--redis-url", f"redis://127.0.0.1:{port}")
    assert result.returncode == 2
    assert "is a cluster" in result.stderr and "Traceback" not in result.stderr


def test_a_url_that_cannot_be_read_is_one_sentence(library):
    result = run("--library", str(library), "--redis-url", "redis://u:s3cret@h?ssl_ca_cert=/x")
    assert result.returncode == 2
    assert "Did you mean 'ssl_ca_certs'" in result.stderr
    assert "s3cret" not in result.stderr
