"""`BackendContract`: the rules of `tiercache.backend` as a pytest class, and `ObjectStoreContract`, which adds those of
`tiercache.objectstore`. Subclass one to test a store.

    class TestMyStore(BackendContract):
        @pytest.fixture
        def backend(self, tmp_path):
            backend = MyStore(tmp_path)  # fresh and empty
            yield backend
            backend.close()

        def raw_get(self, backend, key):  # the store's own bytes, read beside the backend
            return (backend.folder / backend.file_name(key)).read_bytes()

        def raw_put(self, backend, key, data):
            (backend.folder / backend.file_name(key)).write_bytes(data)

A store that cannot hold a rule says so with a flag (see `ContractHooks`), such as `supports_raw = False`; its cases
are then skipped, with the flag as the reason. Where a backend takes a `clock`, override `now` and `advance`:
otherwise two cases wait for a second. The cases that await are marked for pytest-asyncio, in any of its modes.
"""

from __future__ import annotations

import pytest

# Before these are imported: otherwise a failing case says `AssertionError` and not what was compared.
_PARTS = (
    *("hooks", "entries", "expiry", "keys", "damage", "threads", "async"),
    *("object_hooks", "requests", "ranges", "mirror", "foreign", "names", "archive", "races", "limits"),
    *("denied", "sweep"),
)
pytest.register_assert_rewrite(*(f"tiercache.testing.contract_{part}" for part in _PARTS))

from .contract_archive import ArchiveCases  # noqa: E402
from .contract_async import AsyncCases  # noqa: E402
from .contract_damage import DamageCases  # noqa: E402
from .contract_denied import DeniedCases  # noqa: E402
from .contract_entries import EntryCases  # noqa: E402
from .contract_expiry import ExpiryCases  # noqa: E402
from .contract_foreign import ForeignCases  # noqa: E402
from .contract_keys import KeyCases  # noqa: E402
from .contract_limits import LimitCases  # noqa: E402
from .contract_mirror import MirrorCases  # noqa: E402
from .contract_names import NameCases  # noqa: E402
from .contract_object_hooks import Answer, ObjectStoreHooks, RawObject  # noqa: E402
from .contract_races import PartialCases, RaceCases  # noqa: E402
from .contract_ranges import RangeCases  # noqa: E402
from .contract_requests import RequestCases  # noqa: E402
from .contract_sweep import SweepCases  # noqa: E402
from .contract_threads import ThreadCases  # noqa: E402

__all__ = ["Answer", "BackendContract", "ObjectStoreContract", "ObjectStoreHooks", "RawObject"]


class BackendContract(EntryCases, ExpiryCases, KeyCases, DamageCases, ThreadCases, AsyncCases):
    """Over 200 cases, synchronous and awaited; hooks and flags are those of `ContractHooks`."""


class ObjectStoreContract(
    RequestCases,
    RangeCases,
    MirrorCases,
    ForeignCases,
    NameCases,
    ArchiveCases,
    RaceCases,
    PartialCases,
    LimitCases,
    DeniedCases,
    SweepCases,
    BackendContract,
):
    """`BackendContract` and what object stores add to it; hooks and flags are those of `ObjectStoreHooks`, too."""
