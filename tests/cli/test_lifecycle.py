"""`tiercache lifecycle`: rules are shown, compared and set, on each vendor's store and for packed segments."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from contextlib import closing

import pytest

from tests.test_azure_lifecycle import PATH, PLACE, Manager
from tests.tls import secured as secured
from tiercache.testing import servers

from .conftest import Run, command, environment
from .stores import of_gcs, of_s3, s3_client

LOGS = {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 7}}
LATER = "?timeout=30s"


@pytest.fixture
def bucket(s3_server, s3_bucket: str):
    """A bucket with a rule of somebody else's."""
    with closing(s3_client(s3_server)) as client:
        client.put_bucket_lifecycle_configuration(Bucket=s3_bucket, LifecycleConfiguration={"Rules": [LOGS]})
        yield s3_bucket
        client.delete_bucket_lifecycle(Bucket=s3_bucket)


def days(run: Run, *arguments, env) -> list[tuple[bool, str, int]]:
    (tier,) = run("lifecycle", "show", *arguments, "--json", env=env).json["tiers"]
    return [(each["ours"], each["rule"]["ID"], each["rule"]["Expiration"]["Days"]) for each in tier["rules"]]


def test_a_rule_is_compared_asked_about_set_and_then_as_it_should_be(
    run: Run, s3_server, bucket: str, s3_prefix: str
) -> None:
    env, url = of_s3(s3_server), f"s3://{bucket}/{s3_prefix}{LATER}"
    differs = run("lifecycle", "diff", url, "--expire-after", "30d", env=env, expect=1)
    unasked = run("lifecycle", "apply", url, "--expire-after", "30d", env=env, expect=2)
    untouched = days(run, url, env=env)
    run("lifecycle", "apply", url, "--expire-after", "30d", "--yes", env=env)
    again = run("lifecycle", "diff", url, "--expire-after", "30d", "--json", env=env).json["tiers"][0]["change"]

    assert '"Days": 30' in differs.out
    assert "tiercache lifecycle apply" in differs.err
    assert "add --yes" in unasked.err
    assert "a rule goes by age alone" in unasked.err
    assert untouched == [(False, "logs", 7)]
    assert not again["added"] + again["removed"]
    assert sorted(days(run, url, env=env)) == [(False, "logs", 7), (True, f"tiercache:{s3_prefix}", 30)]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")
@pytest.mark.parametrize(("answer", "code", "rules"), [(b"n\n", 1, 1), (b"y\n", 0, 2)])
def test_at_a_terminal_it_asks_and_warns_of_a_whole_bucket(
    run: Run, s3_server, bucket: str, answer: bytes, code: int, rules: int
) -> None:
    ours, theirs = os.openpty()
    url = f"s3://{bucket}/{LATER}"
    with os.fdopen(ours, "wb", buffering=0) as keyboard, os.fdopen(theirs, "rb", buffering=0) as terminal:
        keyboard.write(answer)
        asked = subprocess.run(
            [*command(), "lifecycle", "apply", url, "--expire-after", "30d"],
            env=environment(of_s3(s3_server)),
            stdin=terminal,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )

    assert asked.returncode == code, asked.stderr
    assert "the rules are for the whole bucket" in asked.stderr
    assert "Set these rules?" in asked.stderr
    assert len(days(run, url, env=of_s3(s3_server))) == rules


@pytest.mark.slow
def test_the_ttl_of_the_configuration_is_the_time_unless_another_is_said(run: Run, s3_server, bucket: str) -> None:
    env = of_s3(s3_server, TIERCACHE_TTL="12d", TIERCACHE_URLS=f"memory:// s3://{bucket}/p/{LATER}")
    change = run("lifecycle", "diff", "--json", env=env, expect=1).json["tiers"][0]["change"]

    assert change["added"][0]["Expiration"] == {"Days": 12}
    assert change["kept"][0]["ID"] == "logs"


def test_a_store_that_goes_by_age_wants_to_know_it(run: Run, s3_server, bucket: str) -> None:
    assert "--expire-after 30d" in run("lifecycle", "diff", f"s3://{bucket}/p/", env=of_s3(s3_server), expect=2).err


@pytest.mark.slow
def test_packed_segments_have_a_rule_for_each_bucket_of_lives(run: Run, s3_server, bucket: str, s3_prefix: str) -> None:
    env, url = of_s3(s3_server), f"s3+packed://{bucket}/{s3_prefix}{LATER}"
    run("lifecycle", "apply", url, "--yes", env=env)
    ours = [number for mine, _, number in days(run, url, env=env) if mine]

    assert sorted(ours) == [1, 7, 30, 90, 365]
    run("lifecycle", "diff", url, env=env)


@pytest.mark.slow
def test_google_goes_by_each_entrys_own_expiry(run: Run) -> None:
    storage = pytest.importorskip("google.cloud.storage")
    from google.auth.credentials import AnonymousCredentials

    try:
        emulator = servers.gcp_storage_emulator()
        server = emulator.__enter__()
    except servers.ServerUnavailable as unavailable:
        pytest.skip(str(unavailable))
    try:
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        client = storage.Client(
            server.project, AnonymousCredentials(), client_options={"api_endpoint": server.endpoint_url}
        )
        client.create_bucket(name)
        client.close()
        env, url = of_gcs(server), f"gs://{name}/p/{LATER}"
        run("lifecycle", "apply", url, "--yes", env=env)
        (rule,) = run("lifecycle", "show", url, "--json", env=env).json["tiers"][0]["rules"]
    finally:
        emulator.__exit__(None, None, None)

    assert rule["ours"]
    assert rule["rule"]["condition"] == {"daysSinceCustomTime": 0, "matchesPrefix": ["p/"]}


@pytest.mark.slow
def test_azures_rules_are_set_at_its_resource_manager_with_a_managed_identity(run: Run, web, secured) -> None:
    manager = Manager()
    url = secured(web(manager))
    token = {
        "access_token": "a-token",
        "expires_on": str(int(time.time()) + 3600),
        "resource": "r",
        "token_type": "Bearer",
    }
    env = {
        "IDENTITY_ENDPOINT": web((200, token)).url,
        "IDENTITY_HEADER": "secret",
        "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        "AZURE_SUBSCRIPTION_ID": PLACE["subscription_id"],
        "AZURE_RESOURCE_GROUP": PLACE["resource_group"],
        "AZURE_STORAGE_ACCOUNT_URL": "https://account.blob.core.windows.net",
    }
    where = ["az://container/cache/", "--management-url", url, "--expire-after", "30d"]
    run("lifecycle", "apply", *where, "--yes", env=env)
    again = run("lifecycle", "diff", *where, env=env)

    assert PATH.startswith("/subscriptions/0000-1111/")
    (rule,) = manager.rules
    assert rule["definition"]["filters"]["prefixMatch"] == ["container/cache/"]
    assert "nothing to change" in again.out


@pytest.mark.slow
def test_without_the_group_of_the_account_azure_says_what_is_missing(run: Run) -> None:
    env = {"AZURE_STORAGE_ACCOUNT_URL": "https://account.blob.core.windows.net"}
    ran = run("lifecycle", "apply", "az://container/cache/", "--expire-after", "30d", env=env, expect=2)

    assert "subscription_id and resource_group" in ran.err


def test_a_chain_without_a_bucket_has_no_rules(run: Run) -> None:
    assert "s3://, gs:// and az://" in run("lifecycle", "show", "memory://", expect=2).err
