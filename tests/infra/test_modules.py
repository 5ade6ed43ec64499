"""The Terraform modules: what they make, what they refuse, and that their READMEs tell all of it."""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

import hcl2
import pytest

from tests.infra.conftest import NEEDED, ROOT, Plan
from tiercache import TierChain
from tiercache.errors import ConfigurationError
from tiercache.objectstore.objects import checked_prefix
from tiercache_s3 import S3StorageClass

MODULES = sorted(NEEDED)
BACKENDS = {
    "aws": ("tiercache_s3", "S3Backend"),
    "gcp": ("tiercache_gcs", "GCSBackend"),
    "azure": ("tiercache_azure", "AzureBlobBackend"),
}
KEY = "arn:aws:kms:eu-central-1:000000000000:key/00000000-0000-0000-0000-000000000000"


def resource(plan: Plan, kind: str) -> dict[str, Any]:
    """The one resource of a type."""
    (found,) = [values for address, values in plan.resources.items() if address.startswith(f"{kind}.")]
    return found


def blocks(module: str, file: str, kind: str) -> dict[str, dict[str, Any]]:
    """The blocks of a file by their names, as written."""
    with (ROOT / "infra" / module / file).open() as text:
        return {name.strip('"'): said for block in hcl2.load(text)[kind] for name, said in block.items()}


def statements(policy: str) -> list[dict[str, Any]]:
    return json.loads(policy)["Statement"]


class TestEveryModule:
    @pytest.mark.parametrize("module", MODULES)
    def test_the_chain_it_prints_is_python_that_makes_it(self, plan, module):
        package, name = BACKENDS[module]
        backend = getattr(importlib.import_module(package), name)
        outputs = plan(module, prefix="team a/cache").outputs
        made: dict[str, Any] = {}
        exec(outputs["tier_chain"], made)
        for chain in (made["chain"], TierChain.from_urls("memory://?max_bytes=256MiB", outputs["url"])):
            assert isinstance(chain.tiers[1].backend, backend)
            assert chain.tiers[1].backend.prefix == outputs["prefix"] == "team a/cache/"

    @pytest.mark.parametrize(
        "prefix", ["", "a", "a/", "a/b c", "x" * 113, "x" * 113 + "/", "a~b!(c)", "...", "a.b/..c"]
    )
    def test_a_prefix_that_the_backend_takes_comes_to_the_same(self, plan, prefix):
        assert plan("aws", prefix=prefix).outputs["prefix"] == checked_prefix(prefix)

    @pytest.mark.parametrize(
        "prefix", ["/", "/a", "a//", "a//b", "..", "a/../b", "./a", "ä/", "a\n", "a\tb", "x" * 114, "x" * 114 + "/"]
    )
    def test_a_prefix_that_the_backend_refuses_is_refused(self, plan, prefix):
        with pytest.raises(ConfigurationError):
            checked_prefix(prefix)
        (error,) = plan.with_errors("aws", prefix=prefix).errors
        assert "prefix must" in error

    @pytest.mark.parametrize("prefix", ["*", "a?/", "${b}/", "a'", 'a"', "a\\"])
    def test_a_prefix_that_a_policy_would_misread_is_refused(self, plan, prefix):
        (error,) = plan.with_errors("aws", prefix=prefix).errors
        assert "they have a meaning in policies" in error

    def test_all_modules_check_the_prefix_alike(self):
        rules = [blocks(module, "variables.tf", "variable")["prefix"]["validation"] for module in MODULES]
        assert rules[0] == rules[1] == rules[2]

    @pytest.mark.parametrize("module", MODULES)
    @pytest.mark.parametrize("days", [0, -1, 1.5])
    def test_days_are_whole_and_positive(self, plan, module, days):
        (error,) = plan.with_errors(module, expire_after_days=days).errors
        assert "expire_after_days must be a whole number" in error

    @pytest.mark.parametrize("module", MODULES)
    def test_without_clients_nobody_gets_the_role(self, plan, module):
        kinds = ("aws_iam_role_policy", "aws_iam_user_policy", "google_storage_bucket_iam", "azurerm_role_assignment")
        assert not [name for name in plan(module).resources if name.startswith(kinds)]

    @pytest.mark.parametrize("module", MODULES)
    def test_the_readme_and_the_descriptions_tell_every_input_and_output(self, module):
        told = re.findall(r"^\| `(\w+)` \|", (ROOT / "infra" / module / "README.md").read_text(), re.MULTILINE)
        inputs, outputs = blocks(module, "variables.tf", "variable"), blocks(module, "outputs.tf", "output")
        assert told == [*inputs, *outputs]
        assert all(block["description"] for block in [*inputs.values(), *outputs.values()])

    @pytest.mark.parametrize("module", MODULES)
    def test_every_file_says_first_what_it_is(self, module):
        for file in (ROOT / "infra" / module).rglob("*.tf"):
            assert file.read_text().startswith("# "), file


class TestAWS:
    def test_the_storage_classes_are_those_that_a_bucket_takes_and_a_cache_can_use(self, plan):
        directory_buckets_only = S3StorageClass.EXPRESS_ONEZONE
        for known in S3StorageClass:
            errors = plan.with_errors("aws", storage_class=known.value).errors
            assert (not errors) == (known.is_usable and known != directory_buckets_only), known

    def test_another_class_stands_in_the_chain_and_the_url(self, plan):
        outputs = plan("aws", storage_class="GLACIER_IR").outputs
        assert 'storage_class="GLACIER_IR"' in outputs["tier_chain"]
        assert outputs["url"].endswith("&storage_class=GLACIER_IR")

    def test_public_access_is_blocked_in_all_four_ways(self, plan):
        block = resource(plan("aws"), "aws_s3_bucket_public_access_block")
        assert [value for value in block.values() if isinstance(value, bool)] == [True] * 4

    def test_no_acl_gives_an_object_to_another_account(self, plan):
        (rule,) = resource(plan("aws"), "aws_s3_bucket_ownership_controls")["rule"]
        assert rule["object_ownership"] == "BucketOwnerEnforced"

    def test_no_version_is_kept(self, plan):
        (versions,) = resource(plan("aws"), "aws_s3_bucket_versioning")["versioning_configuration"]
        assert versions["status"] == "Disabled"

    def test_requests_without_tls_1_2_are_denied_to_everyone(self, plan):
        denied = statements(resource(plan("aws"), "aws_s3_bucket_policy")["policy"])
        assert [(s["Effect"], s["Principal"], s["Action"]) for s in denied] == [("Deny", "*", "s3:*")] * 2
        assert [s["Condition"] for s in denied] == [
            {"Bool": {"aws:SecureTransport": "false"}},
            {"NumericLessThan": {"s3:TlsVersion": "1.2"}},
        ]
        arn = "arn:aws:s3:::example-bucket"
        assert all(s["Resource"] == [arn, f"{arn}/*"] for s in denied)

    @pytest.mark.parametrize(("key", "algorithm"), [(None, "AES256"), (KEY, "aws:kms")])
    def test_objects_are_encrypted(self, plan, key, algorithm):
        planned = plan("aws", kms_key_arn=key)
        (rule,) = resource(planned, "aws_s3_bucket_server_side_encryption_configuration")["rule"]
        (default,) = rule["apply_server_side_encryption_by_default"]
        assert (default["sse_algorithm"], default["kms_master_key_id"]) == (algorithm, key)
        assert rule["bucket_key_enabled"] == (key is not None)

    def test_a_client_may_use_the_key_when_there_is_one(self, plan):
        assert not any("kms" in json.dumps(s) for s in statements(plan("aws").outputs["policy_json"]))
        *_, last = statements(plan("aws", kms_key_arn=KEY).outputs["policy_json"])
        assert (last["Action"], last["Resource"]) == (["kms:Decrypt", "kms:GenerateDataKey"], KEY)

    def test_an_alias_is_no_key(self, plan):
        (error,) = plan.with_errors("aws", kms_key_arn="arn:aws:kms:eu-central-1:000000000000:alias/mine").errors
        assert "not of an alias" in error

    def test_without_a_prefix_the_whole_bucket_is_the_cache(self, plan):
        entries, listing = statements(plan("aws", prefix="").outputs["policy_json"])
        assert entries["Resource"] == "arn:aws:s3:::example-bucket/*"
        assert "Condition" not in listing

    def test_roles_and_users_get_the_policy(self, plan):
        planned = plan("aws", role_names=["a", "b"], user_names=["c"])
        attached = {name for name in planned.resources if "policy_attachment" in name}
        assert attached == {
            'aws_iam_role_policy_attachment.client["a"]',
            'aws_iam_role_policy_attachment.client["b"]',
            'aws_iam_user_policy_attachment.client["c"]',
        }

    @pytest.mark.parametrize("name", ["a", "Upper", "with.dots", "express--use1-az4--x-s3", "-a-b"])
    def test_a_name_that_cannot_be_a_bucket_is_refused(self, plan, name):
        (error,) = plan.with_errors("aws", bucket_name=name).errors
        assert "bucket_name must have" in error


class TestGCP:
    def test_nothing_is_public_and_nothing_is_kept(self, plan):
        bucket = resource(plan("gcp"), "google_storage_bucket")
        assert bucket["public_access_prevention"] == "enforced"
        assert bucket["uniform_bucket_level_access"] is True
        assert bucket["versioning"] == [{"enabled": False}]
        assert bucket["soft_delete_policy"][0]["retention_duration_seconds"] == 0

    def test_a_key_of_ones_own_encrypts(self, plan):
        key = "projects/p/locations/l/keyRings/r/cryptoKeys/k"
        assert resource(plan("gcp"), "google_storage_bucket")["encryption"] == []
        bucket = resource(plan("gcp", kms_key_name=key), "google_storage_bucket")
        assert bucket["encryption"] == [{"default_kms_key_name": key}]

    @pytest.mark.parametrize("member", ["allUsers", "allAuthenticatedUsers", "someone@example.com", "serviceAccount:"])
    def test_the_role_is_not_for_everyone(self, plan, member):
        (error,) = plan.with_errors("gcp", members=[member]).errors
        assert "never for allUsers" in error


class TestAzure:
    def test_nothing_is_public_and_nothing_is_kept(self, plan):
        planned = plan("azure")
        account = resource(planned, "azurerm_storage_account")
        assert account["allow_nested_items_to_be_public"] is False
        assert account["shared_access_key_enabled"] is False
        assert account["https_traffic_only_enabled"] is True
        assert account["min_tls_version"] == "TLS1_2"
        assert account["infrastructure_encryption_enabled"] is True
        (blobs,) = account["blob_properties"]
        assert blobs["versioning_enabled"] is False
        assert blobs["delete_retention_policy"] == blobs["container_delete_retention_policy"] == []
        assert resource(planned, "azurerm_storage_container")["container_access_type"] == "private"

    def test_networks_that_are_named_are_the_only_ones(self, plan):
        account = resource(plan("azure", allowed_ip_ranges=["203.0.113.0/24"]), "azurerm_storage_account")
        (rules,) = account["network_rules"]
        assert (rules["default_action"], rules["ip_rules"]) == ("Deny", ["203.0.113.0/24"])
        assert resource(plan("azure"), "azurerm_storage_account")["network_rules"] == []

    def test_a_key_of_ones_own_encrypts(self, plan):
        key = {"key_vault_key_id": "https://v.vault.azure.net/keys/k", "user_assigned_identity_id": "/identity"}
        account = resource(plan("azure", customer_managed_key=key), "azurerm_storage_account")
        (used,), (identity,) = account["customer_managed_key"], account["identity"]
        assert used["key_vault_key_id"] == key["key_vault_key_id"]
        assert (identity["type"], identity["identity_ids"]) == ("UserAssigned", ["/identity"])

    def test_archive_is_refused(self, plan):
        (error,) = plan.with_errors("azure", access_tier="Archive").errors
        assert "takes hours to read" in error

    def test_a_principal_is_an_object_id(self, plan):
        (error,) = plan.with_errors("azure", principal_ids=["my-service"]).errors
        assert "must be object IDs" in error


@pytest.mark.parametrize("module", MODULES)
def test_the_example_prints_the_chain(plan, module):
    outputs = plan(f"{module}/examples/basic").outputs
    assert f"{BACKENDS[module][1]}(" in outputs["tier_chain"]
    assert outputs["url"].partition("?")[0].endswith("/tiercache/")
