"""infra/local/compose.yaml: the same four servers for those with Docker, checked without it."""

import importlib
import re
import subprocess

import pytest
import yaml

from tests.servers.support import ROOT, lack
from tiercache.testing import servers

LOCAL = ROOT / "infra" / "local"


@pytest.fixture(scope="module")
def services() -> dict:
    return yaml.safe_load((LOCAL / "compose.yaml").read_text())["services"]


@pytest.fixture
def environment(monkeypatch) -> dict[str, str]:
    monkeypatch.syspath_prepend(str(LOCAL))
    return importlib.import_module("servers").read_environment(LOCAL / "compose.env")


def test_it_has_the_servers_that_make_servers_has(services):
    assert set(services) == {"valkey", "seaweedfs", "fake-gcs-server", "azurite"}


def test_every_server_is_pinned_to_a_version(services):
    for service in services.values():
        package = [word for word in service["command"] if word.startswith("--package=")]
        pinned = package[0] if package else service["image"]
        assert re.fullmatch(r"[a-z0-9./=-]+[:@]\d+\.\d+(\.\d+)?(-alpine)?", pinned)


def test_no_image_names_a_registry(services):
    for service in services.values():
        assert "." not in service["image"].split("/")[0].partition(":")[0]


def test_no_port_is_open_to_others(services):
    for service in services.values():
        assert [port.rpartition(":")[0].rpartition(":")[0] for port in service["ports"]] == ["127.0.0.1"]


def test_the_environment_names_the_ports_that_are_open(services, environment):
    ports = {name: service["ports"][0].split(":")[1] for name, service in services.items()}
    assert environment["TIERCACHE_REDIS_URL"] == f"redis://127.0.0.1:{ports['valkey']}/0"
    assert environment["AWS_ENDPOINT_URL_S3"] == f"http://127.0.0.1:{ports['seaweedfs']}"
    assert environment["STORAGE_EMULATOR_HOST"] == f"http://127.0.0.1:{ports['fake-gcs-server']}"
    assert (
        f"BlobEndpoint=http://127.0.0.1:{ports['azurite']}/tiercache;" in environment["AZURE_STORAGE_CONNECTION_STRING"]
    )


def test_the_environment_has_the_keys_that_the_servers_take(services, environment):
    keys = services["seaweedfs"]["environment"]
    assert {name: environment[name] for name in keys} == keys
    name, _, key = services["azurite"]["environment"]["AZURITE_ACCOUNTS"].partition(":")
    assert f"AccountName={name};AccountKey={key};" in environment["AZURE_STORAGE_CONNECTION_STRING"]


@pytest.mark.parametrize(
    ("service", "programs", "asked"),
    [
        ("seaweedfs", lambda: [servers.s3.weed_binary() or ""], ["mini", "-h"]),
        ("fake-gcs-server", servers.gcs.fake_gcs_binaries, ["-help"]),
        ("azurite", lambda: [" ".join(command) for command in servers.azure.azurite_commands()], ["--help"]),
    ],
)
def test_each_program_knows_the_options_it_is_given(services, service, programs, asked):
    found = [program.split(" ") for program in programs() if program]
    if not found:
        lack(f"no {service}; make install-servers")
    help_text = subprocess.run([*found[0], *asked], capture_output=True, text=True, check=False, timeout=60)
    given = [word.partition("=")[0] for word in services[service]["command"] if word.startswith("-")]
    given = [option for option in given if option not in ("--yes", "--package")]  # those are npx's
    known = set(re.findall(r"(?<![\w-])--?[a-z][\w.-]*", help_text.stdout + help_text.stderr, re.IGNORECASE))
    assert given
    assert [option for option in given if option not in known] == []
