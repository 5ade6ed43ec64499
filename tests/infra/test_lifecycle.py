"""The modules' lifecycle rules are what the stores take, and what the backends would make themselves."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import boto3
import pytest
import requests
from moto import mock_aws

from tests.infra.conftest import NEEDED, Plan
from tiercache_azure.lifecycle import AzureLifecycle
from tiercache_gcs import GCSBackend
from tiercache_s3 import S3Backend


def s3_rules(plan: Plan) -> list[dict[str, Any]]:
    """The rules as S3's API spells them."""
    rules = []
    for rule in plan.resources["aws_s3_bucket_lifecycle_configuration.cache"]["rule"]:
        (filtered,), (abort,) = rule["filter"], rule["abort_incomplete_multipart_upload"]
        said = {"ID": rule["id"], "Filter": {"Prefix": filtered["prefix"]}, "Status": rule["status"]}
        for expiration in rule["expiration"]:
            said["Expiration"] = {"Days": expiration["days"]}
        rules.append(said | {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": abort["days_after_initiation"]}})
    return rules


def gcs_rules(plan: Plan) -> list[dict[str, Any]]:
    """The rules as Cloud Storage's API spells them. The provider sends a 0 only where it is told to."""
    rules = []
    for rule in plan.resources["google_storage_bucket.cache"]["lifecycle_rule"]:
        (action,), (known,) = rule["action"], rule["condition"]
        condition = {"age": known["age"], "matchesPrefix": known["matches_prefix"] or None}
        if known["days_since_custom_time"] or known["send_days_since_custom_time_if_zero"]:
            condition["daysSinceCustomTime"] = known["days_since_custom_time"]
        if known["with_state"]:
            condition["isLive"] = known["with_state"] == "LIVE"
        said = {name: value for name, value in condition.items() if value is not None}
        rules.append({"action": {"type": action["type"]}, "condition": said})
    return rules


@pytest.fixture(scope="module")
def moto_client() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client("s3", region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test")


@pytest.fixture(scope="module")
def seaweedfs_client(s3_server) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name=s3_server.region,
    )
    yield client
    client.close()


@pytest.fixture
def bucket() -> str:
    return f"bucket-{uuid.uuid4().hex[:12]}"


class TestS3:
    @pytest.mark.parametrize("prefix", ["tiercache/", "a/b c/", ""])
    def test_the_rules_are_those_that_the_backend_makes(self, plan, prefix):
        backend = S3Backend("example-bucket", prefix=prefix)
        assert s3_rules(plan("aws", prefix=prefix)) == backend.objects.lifecycle.wanted(prefix, 45)

    def test_moto_takes_them_and_gives_them_back(self, plan, moto_client, bucket):
        moto_client.create_bucket(Bucket=bucket)
        rules = s3_rules(plan("aws"))
        moto_client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        assert moto_client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules

    def test_the_backend_finds_nothing_to_change_on_a_bucket_of_the_module(self, plan, moto_client, bucket):
        moto_client.create_bucket(Bucket=bucket)
        rules = s3_rules(plan("aws", prefix="cache/"))
        moto_client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        backend = S3Backend(bucket, prefix="cache/", access_key_id="test", secret_access_key="test", timeout=60)
        with closing(backend):
            assert not backend.apply_lifecycle(expire_after="45d")

    def test_seaweedfs_takes_them_and_gives_them_back(self, plan, seaweedfs_client, bucket):
        seaweedfs_client.create_bucket(Bucket=bucket)
        rules = s3_rules(plan("aws"))
        seaweedfs_client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})
        assert seaweedfs_client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == rules

    def test_without_days_nothing_expires(self, plan):
        (rule,) = s3_rules(plan("aws", expire_after_days=None))
        assert "Expiration" not in rule


@pytest.fixture(scope="module")
def gcs_url() -> Iterator[str]:
    """The API of an emulator that keeps lifecycle rules, as fake-gcs-server does not."""
    emulator = pytest.importorskip("gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with emulator.create_server("127.0.0.1", port, in_memory=True):
        yield f"http://127.0.0.1:{port}/storage/v1/b"


class TestGCS:
    @pytest.mark.parametrize("days", [None, 400])
    def test_an_emulator_takes_them_and_gives_them_back(self, plan, gcs_url, bucket, days):
        rules = gcs_rules(plan("gcp", expire_after_days=days))
        requests.post(gcs_url, json={"name": bucket}, timeout=30).raise_for_status()
        patch = {"lifecycle": {"rule": rules}}
        requests.patch(f"{gcs_url}/{bucket}", json=patch, timeout=30).raise_for_status()
        assert requests.get(f"{gcs_url}/{bucket}", timeout=30).json()["lifecycle"]["rule"] == rules

    def test_an_object_goes_when_its_own_time_has_come(self, plan):
        assert {
            "action": {"type": "Delete"},
            "condition": {"daysSinceCustomTime": 0, "matchesPrefix": ["tiercache/"]},
        } in gcs_rules(plan("gcp"))

    @pytest.mark.parametrize("days", [None, 400])
    @pytest.mark.parametrize("prefix", ["tiercache/", ""])
    def test_the_rules_hold_those_that_the_backend_makes(self, plan, prefix, days):
        rules = gcs_rules(plan("gcp", prefix=prefix, expire_after_days=days))
        wanted = GCSBackend("example-bucket", prefix=prefix).objects.lifecycle.wanted(prefix, days)
        assert [rule for rule in rules if rule["action"]["type"] == "Delete"] == wanted


class AnyToken:
    def get_token(self, *scopes, **options):
        raise AssertionError("nobody is asked for anything")


class TestAzure:
    """Azure Resource Manager, which takes such policies, has no emulator: this tells what the policy says."""

    def test_blobs_below_the_prefix_are_deleted_so_many_days_after_their_writing(self, plan):
        (rule,) = plan("azure").resources["azurerm_storage_management_policy.cache[0]"]["rule"]
        (filters,), (actions,) = rule["filters"], rule["actions"]
        (base_blob,) = actions["base_blob"]
        assert rule["enabled"]
        assert filters["blob_types"] == ["blockBlob"]
        assert filters["prefix_match"] == [f"{NEEDED['azure']['container_name']}/tiercache/"]
        assert {name: days for name, days in base_blob.items() if days is not None} == {
            "delete_after_days_since_modification_greater_than": 45
        }
        assert actions["snapshot"] == actions["version"] == []

    @pytest.mark.parametrize("prefix", ["tiercache/", "a/b/", ""])
    def test_the_rule_has_the_name_by_which_the_backend_finds_it(self, plan, prefix):
        (rule,) = plan("azure", prefix=prefix).resources["azurerm_storage_management_policy.cache[0]"]["rule"]
        rules = AzureLifecycle(
            NEEDED["azure"]["container_name"],
            account="account",
            subscription_id="subscription",
            resource_group="group",
            credential=AnyToken(),
            management_url="https://localhost",
        )
        with closing(rules):
            assert rules.owns({"name": rule["name"]}, prefix)

    def test_without_days_there_is_no_policy(self, plan):
        names = plan("azure", expire_after_days=None).resources
        assert not [name for name in names if name.startswith("azurerm_storage_management_policy")]
