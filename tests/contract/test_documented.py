"""The store of docs/testing.md holds the contract, and the page tells the flags that there are."""

from __future__ import annotations

import re
from pathlib import Path

from tiercache.testing import ObjectStoreHooks
from tiercache.testing.contract_hooks import ContractHooks

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

documented = {"__name__": __name__}
(STORE,) = [block for block in BLOCK.findall(PAGE) if "class TestMyStore" in block]
exec(compile(STORE, "testing.md", "exec"), documented)
TestMyStore = documented["TestMyStore"]


def test_the_table_of_flags_tells_each_with_its_default():
    table = PAGE.partition("<!-- flags -->")[2].partition("<!-- end -->")[0]
    rows = [line.split("|")[1:3] for line in table.strip().splitlines()[2:]]
    told = {flag: default.strip() for flags, default in rows for flag in re.findall(r"`(\w+)`", flags)}
    base, added = ContractHooks.__annotations__, ObjectStoreHooks.__annotations__
    assert told.keys() == base.keys() | added.keys()
    for flag, default in told.items():
        values = [getattr(hooks, flag) for hooks in (ContractHooks, ObjectStoreHooks) if hasattr(hooks, flag)]
        spelt = [{"": "empty", (): "none"}.get(value, str(value)) for value in values]
        assert default == (spelt[0] if len(set(spelt)) == 1 else f"{spelt[0]}; object stores: {spelt[1]}"), flag
