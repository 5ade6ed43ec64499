"""What the tests of this directory share: a script in a process of its own, beside a real Redis."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.processes.harness import Run, run


@pytest.fixture
def script(redis_url: str, tmp_path: Path) -> Run:
    def runs(text: str, **options: object) -> object:
        return run(text, redis_url, tmp_path, f"{uuid.uuid4().hex}:", **options)  # type: ignore[arg-type]

    return runs
