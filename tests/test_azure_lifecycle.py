"""Azure's lifecycle rules. No emulator has them: a small server behaves as Azure Resource Manager documents."""

from __future__ import annotations

import json
import re
import time
from contextlib import closing

import pytest

from tests.peers import failure, silence, timed, under_tls
from tests.test_azure import KEY, URL
from tests.test_azure_errors import Tokens
from tests.tls import secured as secured
from tiercache.errors import AccessDenied, BackendTimeout, BackendUnavailable, CacheClosed, ConfigurationError
from tiercache_azure import AzureBlobBackend
from tiercache_azure.lifecycle import rules_of

THEIRS = {
    "enabled": True,
    "name": "theirs",
    "type": "Lifecycle",
    "definition": {
        "actions": {"baseBlob": {"tierToCool": {"daysAfterModificationGreaterThan": 30.0}}},
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["logs/"]},
    },
}
PLACE = {"subscription_id": "0000-1111", "resource_group": "my group"}
PATH = (
    "/subscriptions/0000-1111/resourceGroups/my%20group/providers/Microsoft.Storage/storageAccounts/account"
    "/managementPolicies/default?api-version=2023-05-01"
)


def refused(status, code):
    return status, {"error": {"code": code, "message": "canary confidential"}}


class Manager:
    """The management policy of one account."""

    def __init__(self, *rules):
        self.rules = list(rules)

    def __call__(self, asked):
        if asked.path != PATH:
            return refused(404, "ResourceNotFound")
        if not asked.headers.get("Authorization", "").startswith("Bearer "):
            return refused(401, "AuthenticationFailed")
        if asked.method == "DELETE":
            self.rules.clear()
            return 200, b""
        if asked.method == "PUT":
            rules = json.loads(asked.body)["properties"]["policy"]["rules"]
            if not rules or not all(re.fullmatch("[A-Za-z0-9]+", rule["name"]) for rule in rules):
                return refused(400, "InvalidRequestPropertyValue")
            self.rules = rules
        if not self.rules:
            return refused(404, "ManagementPolicyNotFound")
        return 200, {"name": "DefaultManagementPolicy", "properties": {"policy": {"rules": self.rules}}}


@pytest.fixture
def make(web, secured):
    """A function that returns a backend, a manager, and a call of `apply_lifecycle` that reaches it."""
    backends = []

    def make(manager, **options):
        store = web(manager)
        url = secured(store)
        options = {"account_url": URL, "credential": Tokens(), "prefix": "cache"} | options
        backend = AzureBlobBackend("container", **options)
        backends.append(backend)

        def apply(expire_after="30d", **arguments):
            arguments = PLACE | {"management_url": url} | arguments
            return backend.apply_lifecycle(expire_after=expire_after, **arguments)

        apply.backend, apply.store, apply.url = backend, store, url
        return apply

    yield make
    for backend in backends:
        backend.close()


def test_a_rule_deletes_what_is_older_below_the_prefix(make):
    manager = Manager()
    change = make(manager)("36h")
    [rule] = manager.rules
    assert change.applied
    assert rule["definition"] == {
        "actions": {"baseBlob": {"delete": {"daysAfterModificationGreaterThan": 2}}},
        "filters": {"blobTypes": ["blockBlob"], "prefixMatch": ["container/cache/"]},
    }
    assert (rule["enabled"], rule["type"]) == (True, "Lifecycle")


def test_rules_of_others_are_kept_as_they_are(make):
    manager = Manager(THEIRS)
    change = make(manager)()
    assert manager.rules[0] == THEIRS
    assert len(manager.rules) == 2
    assert change.kept == (THEIRS,)


def test_called_again_it_changes_nothing(make):
    manager = Manager(THEIRS)
    apply = make(manager)
    apply()
    before = list(manager.rules)
    assert not apply()
    assert manager.rules == before
    assert [asked.method for asked in apply.store.asked] == ["GET", "PUT", "GET"]


def test_other_days_replace_the_rule(make):
    manager = Manager()
    apply = make(manager)
    apply("30d")
    change = apply("60d")
    assert len(change.removed) == 1
    [rule] = manager.rules
    assert rule["definition"]["actions"]["baseBlob"]["delete"]["daysAfterModificationGreaterThan"] == 60


def test_caches_of_one_account_have_a_rule_each(make):
    manager = Manager()
    make(manager)()
    make(manager, prefix="other")()
    make(manager, prefix="")()
    assert len({rule["name"] for rule in manager.rules}) == 3
    prefixes = [rule["definition"]["filters"]["prefixMatch"] for rule in manager.rules]
    assert prefixes == [["container/cache/"], ["container/other/"], ["container/"]]


def test_a_dry_run_changes_nothing(make):
    manager = Manager()
    change = make(manager)(dry_run=True)
    assert change
    assert not change.applied
    assert manager.rules == []


def test_a_policy_without_rules_is_deleted(make):
    manager = Manager(THEIRS)
    apply = make(manager)
    with apply.backend.objects.calling("GetManagementPolicy", None) as client:
        rules = rules_of(client, **PLACE, credential=None, management_url=apply.url)
    with closing(rules):
        rules.write([], deadline=None)
    assert manager.rules == []
    assert apply.store.asked[-1].method == "DELETE"


async def test_it_can_be_awaited(make):
    manager = Manager()
    apply = make(manager)
    change = await apply.backend.aapply_lifecycle(expire_after="1d", management_url=apply.url, **PLACE)
    assert change.applied
    assert len(manager.rules) == 1


def test_another_credential_than_the_backends_may_change_the_rules(make):
    operator = Tokens()
    manager = Manager()
    make(manager, credential=KEY)(credential=operator)
    assert len(manager.rules) == 1
    assert {scopes[0].endswith("/.default") for scopes, _ in operator.asked} == {True}


@pytest.mark.parametrize("credential", [KEY, "sv=1&sig=canary"])
def test_keys_and_sas_tokens_are_refused_with_advice(make, credential):
    found = failure(make(Manager(), credential=credential))
    assert isinstance(found, ConfigurationError)
    assert "DefaultAzureCredential" in str(found)


class AsynchronousTokens:
    async def get_token(self, *scopes, **options):
        raise AssertionError


@pytest.mark.parametrize("credential", [KEY, AsynchronousTokens()])
def test_what_is_no_token_credential_is_refused_with_advice(make, credential):
    with pytest.raises(ConfigurationError, match="DefaultAzureCredential"):
        make(Manager())(credential=credential)


@pytest.mark.parametrize("missing", ["subscription_id", "resource_group"])
def test_where_the_account_is_must_be_said(make, missing):
    with pytest.raises(ConfigurationError, match="subscription_id and resource_group"):
        make(Manager())(**{missing: None})


def test_the_days_must_be_said(make):
    with pytest.raises(ConfigurationError, match="expire_after"):
        make(Manager())(None)


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (refused(403, "AuthorizationFailed"), AccessDenied, "managementPolicies/read"),
        (refused(401, "InvalidAuthenticationToken"), AccessDenied, "credential"),
        (refused(401, "ExpiredAuthenticationToken"), AccessDenied, "expired"),
        (refused(404, "ResourceNotFound"), ConfigurationError, "storage account 'account'"),
        (refused(404, "ResourceGroupNotFound"), ConfigurationError, "resource_group"),
        (refused(404, "SubscriptionNotFound"), ConfigurationError, "subscription_id"),
        (refused(429, "TooManyRequests"), BackendUnavailable, "later"),
        (refused(503, "ServerBusy"), BackendUnavailable, "later"),
        ((200, "<html>"), ConfigurationError, "management_url"),
        ((404, "<html>"), ConfigurationError, "management_url"),
    ],
)
def test_an_error_of_the_manager_says_what_to_do(make, answer, kind, says):
    found = failure(make(lambda asked: answer))
    assert type(found) is kind
    assert says in str(found)


def test_a_silent_manager_costs_the_deadline(serve, certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    backend = AzureBlobBackend("container", account_url=URL, credential=Tokens())
    url = f"https://127.0.0.1:{serve(under_tls(certificate, silence))}"
    error, seconds = timed(
        backend.apply_lifecycle,
        expire_after="1d",
        deadline=time.monotonic() + 0.5,
        management_url=url,
        **PLACE,
    )
    assert isinstance(error, BackendTimeout)
    assert seconds < 10
    backend.close()


def test_a_closed_backend_changes_nothing(make):
    apply = make(Manager())
    apply.backend.close()
    with pytest.raises(CacheClosed):
        apply()
    assert not apply.store.asked
