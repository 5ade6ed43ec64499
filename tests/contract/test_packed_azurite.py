"""The contract, held by `PackedBackend` over Azurite."""

import pytest

from tests.contract import test_azure_azurite
from tests.contract.packed import PackedHooks, TwoProcessesHooks
from tests.contract.test_azure_azurite import raw_container
from tiercache.testing import BackendContract

__all__ = ["raw_container"]  # a fixture


class OnAzurite:
    inner = test_azure_azurite.TestAzureOnAzurite.backend
    raw_names = test_azure_azurite.TestAzureOnAzurite.raw_names
    raw_body = test_azure_azurite.TestAzureOnAzurite.raw_body
    raw_put_object = test_azure_azurite.TestAzureOnAzurite.raw_put_object


class TestPackedAzureOnAzurite(OnAzurite, PackedHooks, BackendContract):
    """Read from segments."""


@pytest.mark.slow
class TestPackedElsewhereOnAzurite(OnAzurite, TwoProcessesHooks, BackendContract):
    """Read by another process."""
