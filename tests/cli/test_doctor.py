"""`tiercache doctor`: what works, what does not and how to mend it, on real servers; it leaves nothing behind."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing, contextmanager
from pathlib import Path

import boto3
import pytest

from tiercache import Cache, MemoryBackend, Tier, TierChain
from tiercache.cli.examination import TierReport, examine, of_chain
from tiercache.cli.source import names
from tiercache.testing import servers
from tiercache_s3 import S3Backend

from .conftest import Run
from .moved import fill
from .stores import names_in, of_azure, of_gcs, of_s3, s3_client

EVERYTHING = dict.fromkeys(("read", "write", "delete", "list", "condition"), "ok")
OF_REDIS = EVERYTHING | {"notices": "ok"}
LATER = "?timeout=30s"  # the machine may be busy


def found(report, about: str):
    return [finding for finding in report["findings"] if finding["about"] == about]


@pytest.fixture
def server(redis_url: str):
    redis = pytest.importorskip("redis")
    with closing(redis.Redis.from_url(redis_url)) as client:
        yield client


def test_every_operation_of_redis_is_tried_and_nothing_is_left(run: Run, redis_url: str, server) -> None:
    report = run("doctor", redis_url, "--json").json
    (tier,) = report["tiers"]

    assert report["ok"]
    assert tier["usable"]
    assert tier["operations"] == OF_REDIS
    assert 0 < tier["median"] <= tier["worst"]
    assert abs(tier["skew"]) < 5
    assert not [key for key in server.keys() if b"doctor" in key]  # noqa: SIM118


@pytest.mark.slow
def test_notices_are_sent_and_heard_where_the_chain_needs_them(run: Run, redis_url: str, server) -> None:
    server.execute_command("ACL", "SETUSER", "deaf", "on", ">pw", "~*", "resetchannels", "+@all")
    chain = ["memory://?max_bytes=1MiB", redis_url]
    try:
        works = run("doctor", *chain, "--json").json["tiers"][1]
        deaf = [chain[0], redis_url.replace("redis://", "redis://deaf:pw@")]
        fails = run("doctor", *deaf, "--json").json["tiers"][1]
    finally:
        server.execute_command("ACL", "DELUSER", "deaf")

    assert works["operations"] == OF_REDIS
    assert fails["operations"] == OF_REDIS | {"notices": "denied"}
    assert fails["usable"]
    assert "&tiercache:*" in found(fails, "notices")[0]["fix"]


@pytest.mark.slow
def test_redis_without_a_bound_on_its_memory_is_warned_of_with_the_commands(run: Run, redis_url: str) -> None:
    ran = run("doctor", redis_url)

    assert "warning: redis: memory: maxmemory is not set" in ran.out
    assert "CONFIG SET maxmemory-policy allkeys-lru" in ran.out


def test_a_redis_user_who_may_not_delete_is_a_fault_with_the_acl_command(run: Run, redis_url: str, server) -> None:
    server.execute_command("ACL", "SETUSER", "weak", "on", ">secret-word", "~*", "&*", "+@all", "-unlink", "-info")
    try:
        ran = run("doctor", redis_url.replace("redis://", "redis://weak:secret-word@"), "--json", expect=1)
    finally:
        server.execute_command("ACL", "DELUSER", "weak")
    (tier,) = ran.json["tiers"]

    assert not ran.json["ok"]
    assert tier["operations"] == OF_REDIS | {"delete": "denied"}
    (fault,) = found(tier, "delete")
    assert fault["level"] == "fault"
    assert "+unlink ~tiercache:*" in fault["fix"]
    assert "+info" in found(tier, "server")[0]["fix"]
    assert "secret-word" not in ran.out + ran.err


def test_a_redis_user_to_whom_all_remedies_were_granted_may_do_everything(redis_url: str, server) -> None:
    server.execute_command("ACL", "SETUSER", "granted", "reset", "on", ">pw", "+ping")
    url = redis_url.replace("redis://", "redis://granted:pw@")
    try:
        for _ in range(3):  # what is written first lets others be tried
            with Cache(TierChain.from_urls("memory://", url)) as cache:
                tier = examine(cache, cache.chain.tiers[1], objects=0)
            remedies = [one.fix.partition("SETUSER <user> ")[2].split() for one in tier.findings]
            for remedy in filter(None, remedies):
                server.execute_command("ACL", "SETUSER", "granted", *remedy)
    finally:
        server.execute_command("ACL", "DELUSER", "granted")

    assert tier.operations == OF_REDIS


def test_wrong_credentials_are_one_fault(run: Run, redis_url: str) -> None:
    (tier,) = run("doctor", redis_url.replace("redis://", "redis://me:wrong@"), "--json", expect=1).json["tiers"]

    assert [finding["about"] for finding in tier["findings"]] == ["credentials"]


def test_a_dead_tier_fails_the_whole_and_the_others_are_looked_at_all_the_same(run: Run) -> None:
    ran = run("doctor", "memory://?max_bytes=1MiB", "redis://127.0.0.1:1/0", expect=1)

    assert "fault: redis: reach: cannot reach Redis: Connection refused" in ran.out
    assert "start the server" in ran.out
    assert "cannot be used: redis" in ran.err
    assert re.search(r"can be used +yes +no *\n", ran.out)


def test_the_operations_of_a_bucket_are_tried_and_nothing_is_left(
    run: Run, s3_server, s3_bucket: str, s3_prefix: str
) -> None:
    report = run("doctor", f"s3://{s3_bucket}/{s3_prefix}{LATER}", "--json", env=of_s3(s3_server)).json
    (tier,) = report["tiers"]

    assert tier["operations"] == EVERYTHING
    assert abs(tier["skew"]) < 5
    assert tier["contents"] | {"monthly": 0} == {
        "objects": 0, "bytes": 0, "complete": True, "by_class": {}, "monthly": 0, "expired": None
    }  # fmt: skip
    with closing(s3_client(s3_server)) as client:
        assert names_in(client, s3_bucket, s3_prefix) == []


@contextmanager
def denied(server, bucket: str, prefix: str, action: str):
    """Deny an action below a prefix, to everybody."""
    deny = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{bucket}/{prefix}*"}
    with closing(s3_client(server)) as client:
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]}))
        try:
            yield client
        finally:
            client.delete_bucket_policy(Bucket=bucket)


def test_a_delete_that_is_denied_is_a_fault_with_the_policy_statement(
    run: Run, s3_server, s3_bucket: str, s3_prefix: str
) -> None:
    with denied(s3_server, s3_bucket, s3_prefix, "s3:DeleteObject") as client:
        for _ in range(2):
            ran = run("doctor", f"s3://{s3_bucket}/{s3_prefix}{LATER}", "--json", env=of_s3(s3_server), expect=1)
        left = names_in(client, s3_bucket, s3_prefix)
    (tier,) = ran.json["tiers"]
    fault, note = found(tier, "delete")

    assert tier["operations"] == EVERYTHING | {"delete": "denied"}
    assert json.loads(fault["fix"].partition(": ")[2]) == {
        "Effect": "Allow",
        "Action": ["s3:DeleteObject"],
        "Resource": f"arn:aws:s3:::{s3_bucket}/{s3_prefix}*",
    }
    assert "_meta:doctor:cannot-be-deleted" in note["text"]
    assert len(left) == 1, "one object for all checks"


@pytest.mark.slow
def test_a_write_that_is_denied_is_a_fault_and_a_tier_that_is_only_read_needs_none(
    run: Run, s3_server, s3_bucket: str, s3_prefix: str
) -> None:
    url = f"s3://{s3_bucket}/{s3_prefix}{LATER}"
    with denied(s3_server, s3_bucket, s3_prefix, "s3:PutObject"):
        written = run("doctor", url, "--json", env=of_s3(s3_server), expect=1).json["tiers"][0]
        read = run("doctor", f"{url}&write=never", "--json", env=of_s3(s3_server)).json["tiers"][0]

    assert "s3:PutObject" in found(written, "write")[0]["fix"]
    assert read["operations"] == {
        "read": "ok", "write": "not needed", "delete": "not needed", "condition": "not needed", "list": "ok"
    }  # fmt: skip


@pytest.mark.slow
def test_a_missing_bucket_and_a_wrong_key_are_told_apart(run: Run, s3_server, s3_bucket: str) -> None:
    missing = run("doctor", f"s3://no-such-bucket/{LATER}", env=of_s3(s3_server), expect=1)
    wrong = of_s3(s3_server, AWS_SECRET_ACCESS_KEY="not-the-one")
    refused = run("doctor", f"s3://{s3_bucket}/p/{LATER}", env=wrong, expect=1)

    assert "fault: s3: reach: bucket 'no-such-bucket' does not exist; create it" in missing.out
    assert "fault: s3: credentials:" in refused.out
    assert "check the secret access key" in refused.out


def test_a_class_that_does_not_suit_and_what_is_expired_are_told_in_dollars(
    run: Run, s3_server, s3_bucket: str, s3_prefix: str
) -> None:
    credentials = {"access_key_id": s3_server.access_key, "secret_access_key": s3_server.secret_key}
    where = {"prefix": s3_prefix, "region": s3_server.region, "endpoint_url": s3_server.endpoint_url}
    backend = S3Backend(s3_bucket, storage_class="STANDARD_IA", timeout=30, **where, **credentials)
    with pytest.warns(UserWarning, match="STANDARD_IA"):
        cache = Cache(backend)
    with cache:
        cache.set_many({f"kept{number}": b"x" * 4096 for number in range(8)}, ttl=1e6)
        cache.set_many({f"gone{number}": b"x" * 4096 for number in range(8)}, ttl=0.01)  # before a process is there
    url = f"s3://{s3_bucket}/{s3_prefix}{LATER}&storage_class=STANDARD_IA&max_ttl=20d"
    (tier,) = run("doctor", url, "--json", env=of_s3(s3_server)).json["tiers"]
    (wrong_class,), (no_rule,) = found(tier, "class"), found(tier, "lifecycle")

    assert tier["usable"]
    assert tier["contents"]["by_class"] == {"STANDARD_IA": 16}
    assert tier["contents"]["expired"] == 0.5
    assert 0 < wrong_class["monthly"] < tier["contents"]["monthly"]
    assert wrong_class["fix"] == "storage_class=STANDARD"
    assert "a million entries" in wrong_class["text"]
    assert no_rule["monthly"] == pytest.approx(tier["contents"]["monthly"] / 2)
    assert f"`tiercache lifecycle apply s3://{s3_bucket}/{s3_prefix} --expire-after 20d`" in no_rule["fix"]
    assert "goes by age alone" not in no_rule["fix"]  # no entry stays longer than the tier's max_ttl


@pytest.mark.slow
def test_google_and_azure_are_looked_at_alike(
    run: Run, gcs_server, gcs_bucket: str, azure_server, azure_container: str, s3_prefix: str
) -> None:
    urls = [f"gs://{gcs_bucket}/{s3_prefix}{LATER}", f"az://{azure_container}/{s3_prefix}{LATER}"]
    tiers = run("doctor", *urls, "--json", env=of_gcs(gcs_server) | of_azure(azure_server)).json["tiers"]

    assert [tier["operations"] for tier in tiers] == [EVERYTHING] * 2
    assert all(abs(tier["skew"]) < 5 for tier in tiers)
    assert all(tier["contents"]["objects"] == 0 for tier in tiers), "nothing is left"
    assert f"`tiercache lifecycle apply gs://{gcs_bucket}/{s3_prefix}`" in found(tiers[0], "lifecycle")[0]["fix"]
    assert "subscription_id" in found(tiers[1], "lifecycle")[0]["text"]


@pytest.mark.slow
def test_a_packed_tier_is_tried_on_the_store_beneath(run: Run, s3_server, s3_bucket: str, s3_prefix: str) -> None:
    url = f"s3+packed://{s3_bucket}/{s3_prefix}{LATER}"
    (tier,) = run("doctor", url, "--json", env=of_s3(s3_server)).json["tiers"]

    assert tier["operations"] == EVERYTHING
    assert "no lifecycle rule" in found(tier, "lifecycle")[0]["text"]


@pytest.mark.slow
def test_a_client_with_the_least_permissions_is_well_and_is_told_what_it_cannot_see(run: Run) -> None:
    try:
        running = servers.ministack_server(enforce_iam=True)
        server = running.__enter__()
    except servers.ServerUnavailable as unavailable:
        pytest.skip(str(unavailable))
    entries = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        "Resource": "arn:aws:s3:::bucket/p/*",
    }
    listing = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::bucket"}
    try:
        keys = user_of(server, [entries, listing])
        env = of_s3(server, AWS_ACCESS_KEY_ID=keys["AccessKeyId"], AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"])
        (tier,) = run("doctor", f"s3://bucket/p/{LATER}", "--json", env=env).json["tiers"]
    finally:
        running.__exit__(None, None, None)
    (note,) = tier["findings"]

    assert tier["operations"] == EVERYTHING
    assert (note["level"], note["about"]) == ("note", "lifecycle")
    assert "s3:GetLifecycleConfiguration" in note["fix"]


def user_of(server, statements) -> dict[str, str]:
    """Make a bucket, and a user with this policy; return their keys."""
    credentials = {"aws_access_key_id": server.access_key, "aws_secret_access_key": server.secret_key}
    iam = boto3.client("iam", endpoint_url=server.endpoint_url, region_name=server.region, **credentials)
    with closing(s3_client(server)) as client, closing(iam):
        client.create_bucket(Bucket="bucket")
        iam.create_user(UserName="client")
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName="client", PolicyName="entries", PolicyDocument=document)
        return iam.create_access_key(UserName="client")["AccessKey"]


@pytest.mark.slow
def test_versions_and_rules_of_others_that_archive_are_warned_of(run: Run, ministack, s3_prefix: str) -> None:
    archive = {
        "ID": "to the archive",
        "Filter": {"Prefix": ""},
        "Status": "Enabled",
        "Transitions": [{"Days": 30, "StorageClass": "DEEP_ARCHIVE"}],
    }
    with closing(s3_client(ministack)) as client:
        name = f"versioned-{s3_prefix[:8]}"
        client.create_bucket(Bucket=name)
        client.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        client.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [archive]})
        (tier,) = run("doctor", f"s3://{name}/p/{LATER}", "--json", env=of_s3(ministack)).json["tiers"]

    assert f"put-bucket-versioning --bucket {name}" in found(tier, "versions")[0]["fix"]
    assert any("'to the archive' moves entries to DEEP_ARCHIVE" in each["text"] for each in found(tier, "lifecycle"))


@pytest.mark.slow
def test_the_primaries_of_a_cluster_and_the_one_behind_sentinels_are_asked(
    run: Run, redis_cluster, redis_sentinels
) -> None:
    pytest.importorskip("redis")
    tiers = run("doctor", redis_cluster.url, redis_sentinels.url, "--json").json["tiers"]

    assert all(EVERYTHING.items() <= tier["operations"].items() for tier in tiers)
    assert all(tier["usable"] and abs(tier["skew"]) < 5 for tier in tiers)
    assert all(found(tier, "memory") for tier in tiers), "what INFO says was judged"


class Rude(MemoryBackend):
    """A backend of somebody else's that lets its vendor's exceptions out."""

    def put(self, *args, **options):
        raise RuntimeError("the vendor's own words, with a secret")


def test_a_backend_that_raises_what_it_should_not_is_a_fault_and_no_traceback() -> None:
    with Cache(Rude(max_bytes="1MiB")) as cache:
        report = examine(cache, cache.chain.tiers[0], objects=0)
    (fault,) = [finding for finding in report.findings if finding.level == "fault"]

    assert report.operations["write"] == "fails"
    assert "RuntimeError" in fault.text
    assert "secret" not in fault.text


@pytest.mark.slow
def test_each_further_storage_class_is_tried(run: Run, s3_server, s3_bucket: str, s3_prefix: str, tmp_path) -> None:
    file = tmp_path / "cache.toml"
    file.write_text(
        f'[[tiers]]\nurl = "s3://{s3_bucket}/{s3_prefix}{LATER}"\n\n'
        '[[tiers.storage_classes]]\nstorage_class = "GLACIER_IR"\nmin_ttl = "90d"\n'
    )
    (tier,) = run("doctor", "--config", file, "--json", env=of_s3(s3_server)).json["tiers"]

    assert tier["operations"] == EVERYTHING | {"class GLACIER_IR": "ok"}
    assert tier["contents"]["objects"] == 0


def test_a_file_that_others_may_read_is_warned_of(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    fill(f"disk://{path}", 1)
    path.chmod(0o644)
    ran = run("doctor", f"disk://{path}")

    assert "(mode 0644)" in ran.out
    assert f"chmod 600 {path}" in ran.out


def test_memory_alone_does_not_survive_and_grows_without_a_bound(run: Run) -> None:
    report = run("doctor", "memory://", "--json").json

    assert [finding["about"] for finding in report["tiers"][0]["findings"]] == ["size"]
    assert [finding["about"] for finding in report["findings"]] == ["restart"]


class Elsewhere(MemoryBackend):
    """A store whose clock is ahead, and which takes its time."""

    fast_by = 0.0

    def server_time(self, *, deadline: float | None = None) -> float:
        return time.time() + self.fast_by


@pytest.mark.parametrize(("ahead", "level"), [(1.0, None), (-60.0, "warning"), (60.0, "warning"), (4000.0, "fault")])
def test_clocks_that_differ_are_told_with_the_cure(ahead: float, level: str | None) -> None:
    backend = Elsewhere(max_bytes="1MiB")
    backend.fast_by = ahead
    with Cache(backend) as cache:
        report = examine(cache, cache.chain.tiers[0], objects=0)
    told = [finding for finding in report.findings if finding.about == "clock"]

    assert report.skew == pytest.approx(ahead, abs=2.0)
    assert [finding.level for finding in told] == ([level] if level else [])
    assert all("NTP" in finding.fix for finding in told)
    assert report.usable is (level != "fault")


@pytest.mark.parametrize(("best", "told"), [(0.05, True), (0.019, False)])
def test_a_tier_that_is_slow_even_at_its_best_before_a_quick_one_is_out_of_order(best: float, told: bool) -> None:
    reports = [
        TierReport("redis", "redis", best=best, median=0.06, worst=0.1),
        TierReport("s3", "s3", best=0.002, median=0.01, worst=0.02),
    ]
    with Cache(TierChain(Tier(MemoryBackend(), name="memory"))) as cache:
        findings = [finding for finding in of_chain(cache, reports) if finding.about == "order"]
        right_way = of_chain(cache, reports[::-1])

    assert [finding.fix for finding in findings] == ["put the faster tier first"] * told
    assert not [finding for finding in right_way if finding.about == "order"]


def test_a_fix_names_the_tier_as_it_was_named_without_its_secrets() -> None:
    secret = "s3://b/p/?region=eu-1&endpoint_url=https://host:9/&secret_access_key=hidden&timeout=5s"

    assert names(["memory://", secret], None, 1) == "'s3://b/p/?region=eu-1&endpoint_url=https://host:9/'"
    assert names(["redis://user:hidden@host:1/0"], None, 0) == "redis://host:1/0"
    assert names(["c.toml"], None, 0) == names(None, Path("c.toml"), 1) == "--config c.toml"
    assert names(None, None, 0) == ""
