"""The lifecycle rules of packed segments: one for each bucket of lives, at each vendor; those of others stay."""

from __future__ import annotations

import json
import uuid
from contextlib import closing, contextmanager

import boto3
import pytest
from moto import mock_aws

from tests.test_azure import KEY, URL
from tests.test_azure_errors import Tokens
from tests.test_azure_lifecycle import PLACE, Manager
from tests.test_azure_lifecycle import THEIRS as THEIRS_AT_AZURE
from tests.test_objectstore import DictStore
from tests.tls import secured as secured
from tiercache.errors import CacheClosed, ConfigurationError
from tiercache.objectstore import ObjectStoreBackend
from tiercache.packed.lifecycle import apply_lifecycle
from tiercache.packed.naming import BUCKETS, FOLDER, KEEP
from tiercache.testing import servers
from tiercache_azure import AzureBlobBackend
from tiercache_gcs import GCSBackend
from tiercache_s3 import S3Backend

DAYS = {"p/_segments/1d/": 1, "p/_segments/7d/": 7, "p/_segments/30d/": 30, "p/_segments/90d/": 90} | {
    "p/_segments/365d/": 365
}


def test_there_is_a_rule_for_each_bucket_that_ends():
    assert {f"p/{FOLDER}{name}/" for name, _ in BUCKETS if name != KEEP} == DAYS.keys()


# S3

THEIRS = [
    {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 7}},
    {"ID": "tiercache:other/", "Filter": {"Prefix": "other/"}, "Status": "Enabled", "Expiration": {"Days": 9}},
    {"ID": "mine", "Filter": {"Prefix": "p/_segments/1d/"}, "Status": "Enabled", "Expiration": {"Days": 3}},
]


@contextmanager
def on_moto(request):
    with mock_aws():
        yield (
            boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"),
            {
                "region": "us-east-1",
                "access_key_id": "x",
                "secret_access_key": "x",
            },
        )


@contextmanager
def on_server(request, fixture):
    server = request.getfixturevalue(fixture)
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
    )
    with closing(client):
        yield (
            client,
            {
                "endpoint_url": server.endpoint_url,
                "access_key_id": server.access_key,
                "secret_access_key": server.secret_key,
                "region": server.region,
            },
        )


@pytest.fixture(params=["moto", "s3_server", "ministack"])
def s3(request):
    """A backend, and what reads and writes the rules of its bucket beside it."""
    place = on_moto(request) if request.param == "moto" else on_server(request, request.param)
    with place as (client, options):
        bucket = f"bucket-{uuid.uuid4().hex[:12]}"
        client.create_bucket(Bucket=bucket)

        def rules(given=None):
            if given is not None:
                client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": given})
            return client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]

        with closing(S3Backend(bucket, prefix="p", timeout=60, **options)) as backend:
            yield backend, rules


def expirations(rules):
    return {rule["Filter"]["Prefix"]: rule["Expiration"]["Days"] for rule in rules}


def test_s3_expires_segments_after_the_days_of_their_bucket(s3):
    backend, rules = s3
    change = apply_lifecycle(backend)
    assert change.applied
    assert expirations(rules()) == DAYS
    assert {rule["Status"] for rule in rules()} == {"Enabled"}


def test_at_s3_rules_of_others_stay_and_a_second_time_changes_nothing(s3):
    backend, rules = s3
    before = rules(THEIRS)
    apply_lifecycle(backend)
    after = rules()
    assert after[: len(THEIRS)] == before
    assert len(after) == len(THEIRS) + len(DAYS)
    assert not apply_lifecycle(backend)
    assert rules() == after


def test_at_s3_a_rule_for_the_whole_prefix_goes_as_it_would_hit_segments_that_are_kept(s3):
    backend, rules = s3
    backend.apply_lifecycle(expire_after="30d")
    change = apply_lifecycle(backend)
    assert [rule["ID"] for rule in change.removed] == ["tiercache:p/"]
    assert expirations(rules()) == DAYS


def test_at_s3_a_rule_with_other_days_is_put_right(s3):
    backend, rules = s3
    apply_lifecycle(backend)
    changed = rules()
    changed[0]["Expiration"] = {"Days": 500}
    rules(changed)
    change = apply_lifecycle(backend)
    assert (len(change.removed), len(change.added)) == (1, 1)
    assert expirations(rules()) == DAYS


def test_a_dry_run_at_s3_changes_nothing(s3):
    backend, rules = s3
    rules(THEIRS)
    change = apply_lifecycle(backend, dry_run=True)
    assert (bool(change), change.applied) == (True, False)
    assert len(rules()) == len(THEIRS)


def test_an_empty_prefix_has_rules_for_segments_alone():
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x")
        client.create_bucket(Bucket="bucket")
        backend = S3Backend("bucket", region="us-east-1", access_key_id="x", secret_access_key="x", timeout=60)
        with closing(backend):
            apply_lifecycle(backend)
        rules = client.get_bucket_lifecycle_configuration(Bucket="bucket")["Rules"]
    assert expirations(rules) == {folder.removeprefix("p/"): days for folder, days in DAYS.items()}


def test_it_reads_and_writes_the_configuration_once(web):
    rule = "<Rule><ID>logs</ID><Filter><Prefix>logs/</Prefix></Filter><Status>Enabled</Status></Rule>"
    answer = 200, f"<LifecycleConfiguration>{rule}</LifecycleConfiguration>"
    server = web(answer, answer)
    options = {"region": "us-east-1", "access_key_id": "x", "secret_access_key": "x", "timeout": 60}
    with closing(S3Backend("bucket", prefix="p", endpoint_url=server.url, **options)) as backend:
        apply_lifecycle(backend)
    assert [asked.method for asked in server.asked] == ["GET", "PUT"]


# Google Cloud Storage


def aged(prefix, days):
    return {"action": {"type": "Delete"}, "condition": {"age": days, "matchesPrefix": [prefix]}}


THEIRS_AT_GCS = [
    aged("logs/", 7),
    {"action": {"type": "Delete"}, "condition": {"daysSinceCustomTime": 0, "matchesPrefix": ["p/"]}},
    {"action": {"type": "Delete"}, "condition": {"age": 3, "matchesPrefix": ["p/_segments/1d/", "q/"]}},
    {"action": {"type": "Delete"}, "condition": {"age": 365}},
]


@pytest.fixture
def gcs(web):
    """A backend whose store keeps lifecycle rules; `backend.web.rules` are those."""
    store = web()
    store.rules = []

    def answer(asked):
        if asked.method == "PATCH":
            store.rules = json.loads(asked.body)["lifecycle"]["rule"]
        return 200, ({"lifecycle": {"rule": store.rules}} if store.rules else {})

    store.answers = [answer]
    with closing(GCSBackend("bucket", prefix="p", endpoint_url=store.url, timeout=60)) as backend:
        backend.web = store
        yield backend


def test_gcs_deletes_segments_by_their_age_and_keeps_the_rules_of_others(gcs):
    gcs.web.rules = list(THEIRS_AT_GCS)
    assert apply_lifecycle(gcs).applied
    assert gcs.web.rules == [*THEIRS_AT_GCS, *(aged(folder, days) for folder, days in DAYS.items())]
    assert not apply_lifecycle(gcs)


def test_at_gcs_the_age_for_the_whole_prefix_goes_and_the_custom_time_stays(gcs):
    gcs.apply_lifecycle(expire_after="30d")
    change = apply_lifecycle(gcs)
    assert change.removed == (aged("p/", 30),)
    assert THEIRS_AT_GCS[1] in gcs.web.rules
    assert len(gcs.web.rules) == 1 + len(DAYS)


def test_an_emulator_of_gcs_keeps_the_rules():
    try:
        with servers.gcp_storage_emulator() as server:
            from google.auth.credentials import AnonymousCredentials
            from google.cloud import storage

            options = {"api_endpoint": server.endpoint_url}
            with closing(storage.Client(server.project, AnonymousCredentials(), client_options=options)) as client:
                bucket = client.create_bucket(f"bucket-{uuid.uuid4().hex[:12]}")
                backend = GCSBackend(bucket.name, prefix="p", endpoint_url=server.endpoint_url, timeout=60)
                with closing(backend):
                    assert apply_lifecycle(backend).applied
                    assert not apply_lifecycle(backend)
                bucket.reload()
                kept = [dict(rule) for rule in bucket.lifecycle_rules]
    except servers.ServerUnavailable as unavailable:
        pytest.skip(str(unavailable))
    assert kept == [aged(folder, days) for folder, days in DAYS.items()]


# Azure


@pytest.fixture
def azure(web, secured):
    """A function that applies the rules to a manager's account."""
    backends = []

    def make(manager, credential=None, operator=None):
        place = PLACE | {"management_url": secured(web(manager)), "credential": operator}
        backend = AzureBlobBackend("container", prefix="p", account_url=URL, credential=credential or Tokens())
        backends.append(backend)
        return lambda: apply_lifecycle(backend, **place)

    yield make
    for backend in backends:
        backend.close()


def test_azure_deletes_segments_that_are_older_than_their_bucket_is_long(azure):
    manager = Manager(THEIRS_AT_AZURE)
    apply = azure(manager)
    assert apply().applied
    assert manager.rules[0] == THEIRS_AT_AZURE
    found = {
        rule["definition"]["filters"]["prefixMatch"][0]: rule["definition"]["actions"]["baseBlob"]["delete"]
        for rule in manager.rules[1:]
    }
    assert found == {f"container/{name}": {"daysAfterModificationGreaterThan": days} for name, days in DAYS.items()}
    assert not apply()


def test_at_azure_another_credential_than_the_backends_may_do_it(azure):
    manager = Manager()
    with pytest.raises(ConfigurationError, match="DefaultAzureCredential"):
        azure(manager, KEY)()
    azure(manager, KEY, operator=Tokens())()
    assert len(manager.rules) == len(DAYS)


def test_where_the_account_is_must_be_said():
    with (
        closing(AzureBlobBackend("container", account_url=URL, credential=Tokens())) as backend,
        pytest.raises(ConfigurationError, match="subscription_id and resource_group"),
    ):
        apply_lifecycle(backend)


# Refusals


def test_a_store_without_rules_says_so(clock):
    with (
        closing(ObjectStoreBackend(DictStore(), clock=clock)) as backend,
        pytest.raises(ConfigurationError, match="cannot be reached"),
    ):
        apply_lifecycle(backend)


def test_a_closed_backend_changes_nothing(gcs):
    gcs.close()
    with pytest.raises(CacheClosed):
        apply_lifecycle(gcs)
    assert gcs.web.asked == []


def test_a_place_that_the_store_does_not_know_is_no_silent_option(gcs):
    with pytest.raises(TypeError, match="subscription_id"):
        apply_lifecycle(gcs, subscription_id="x")
