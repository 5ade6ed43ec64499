"""Every cloud through the command: doctor, copy there and back, export; on an emulator of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .conftest import Run
from .moved import fill, values
from .stores import of_azure, of_gcs, of_s3

LATER = "?timeout=30s"  # the machine may be busy
EVERYTHING = dict.fromkeys(("read", "write", "delete", "list", "condition"), "ok")


@dataclass(frozen=True)
class Cloud:
    """A place in a bucket, and the environment of a command that may use it."""

    url: str
    env: dict[str, str]


@pytest.fixture(params=["s3", "gs", "az"])
def cloud(request: pytest.FixtureRequest, s3_prefix: str) -> Cloud:
    server, bucket, of = {
        "s3": ("s3_server", "s3_bucket", of_s3),
        "gs": ("gcs_server", "gcs_bucket", of_gcs),
        "az": ("azure_server", "azure_container", of_azure),
    }[request.param]
    return Cloud(
        f"{request.param}://{request.getfixturevalue(bucket)}/{s3_prefix}{LATER}",
        of(request.getfixturevalue(server)),  # type: ignore[operator]
    )


@pytest.mark.slow
def test_entries_go_there_and_come_back(run: Run, tmp_path: Path, cloud: Cloud) -> None:
    here, back, file = f"disk://{tmp_path}/a", f"disk://{tmp_path}/b", tmp_path / "f.tier"
    fill(here, 20, ttl=86_400, tags=["t"])

    assert run("copy", "--from", here, "--to", cloud.url, "--json", env=cloud.env).json["copied"] == 20
    again = run("copy", "--from", here, "--to", cloud.url, "--json", env=cloud.env).json
    assert (again["copied"], again["skipped_present"]) == (0, 20)
    assert run("copy", "--from", cloud.url, "--to", back, "--json", env=cloud.env).json["copied"] == 20
    assert values(back, "k00007") == [[7] * 20]
    assert run("export", file, cloud.url, "--json", env=cloud.env).json["copied"] == 20
    run("rm", cloud.url, "-n", "n", "--tag", "t", "--purge", "--yes", env=cloud.env)
    assert run("import", file, cloud.url, "--json", env=cloud.env).json["skipped_dead"] == 20
    assert run("ls", cloud.url, "-n", "n", "--json", env=cloud.env).json["entries"] == []


@pytest.mark.slow
def test_the_doctor_finds_it_well_and_names_it_in_its_commands(run: Run, cloud: Cloud) -> None:
    (tier,) = run("doctor", cloud.url, "--json", env=cloud.env).json["tiers"]

    assert tier["usable"]
    assert tier["operations"] == EVERYTHING
    assert abs(tier["skew"]) < 5
    assert not [found for found in tier["findings"] if found["level"] == "fault"]
    assert "URL-OF-THIS-TIER" not in str(tier)


@pytest.mark.slow
def test_a_sweep_counts_and_deletes_what_is_expired(run: Run, cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cloud.env.items():
        monkeypatch.setenv(name, value)
    fill(cloud.url, 4, ttl=0.01)
    fill(cloud.url, 2, namespace="kept")
    scheme = cloud.url.partition(":")[0]
    dry = run("sweep", cloud.url, "-n", "n", "--dry-run", "--json", env=cloud.env).json["swept"][scheme]
    done = run("sweep", cloud.url, "-n", "n", "--json", env=cloud.env).json["swept"][scheme]

    assert (dry["deleted"], done["deleted"], done["resume"]) == (4, 4, None)
    assert run("ls", cloud.url, "-n", "all", "--json", env=cloud.env).json["totals"][scheme]["entries"] == 2


@pytest.fixture
def soft_delete(azure_server) -> Iterator[None]:
    """The account keeps what is deleted."""
    blob = pytest.importorskip("azure.storage.blob")
    with blob.BlobServiceClient.from_connection_string(azure_server.connection_string) as client:
        client.set_service_properties(delete_retention_policy=blob.RetentionPolicy(enabled=True, days=5))
        try:
            yield
        finally:
            client.set_service_properties(delete_retention_policy=blob.RetentionPolicy(enabled=False))


@pytest.mark.slow
def test_an_azure_account_that_keeps_what_is_deleted_is_warned_of(
    run: Run, azure_server, azure_container: str, s3_prefix: str, soft_delete: None
) -> None:
    url = f"az://{azure_container}/{s3_prefix}{LATER}"
    (tier,) = run("doctor", url, "--json", env=of_azure(azure_server)).json["tiers"]
    (found,) = (each for each in tier["findings"] if each["about"] == "soft delete")

    assert found["level"] == "warning"
    assert "for 5 days, and bills it" in found["text"]
    assert "--enable-delete-retention false" in found["fix"]
