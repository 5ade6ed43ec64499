"""Terraform's own plans of the modules, made by infra/checks in the environment that `make check` makes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.infra.client_permissions")  # its failures say which permission

ROOT = Path(__file__).parents[2]
NEEDED: dict[str, dict[str, Any]] = {
    "aws": {"bucket_name": "example-bucket", "expire_after_days": 45},
    "gcp": {"bucket_name": "example-bucket", "location": "europe-west3"},
    "azure": {
        "account_name": "exampleaccount",
        "container_name": "example",
        "resource_group_name": "example",
        "location": "westeurope",
        "expire_after_days": 45,
    },
}


class Plan:
    """What Terraform would make of a module: `resources` by address, `outputs` by name; or its `errors`."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self.errors: list[str] = answer["errors"]
        self.resources: dict[str, dict[str, Any]] = answer.get("resources", {})
        self.outputs: dict[str, Any] = answer.get("outputs", {})


class Planner:
    """Asks for plans over the pipes of a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._known: dict[str, Plan] = {}

    def __call__(self, module: str, **variables: object) -> Plan:
        """Plan a module with what it needs and these variables."""
        plan = self.with_errors(module, **variables)
        assert not plan.errors, plan.errors
        return plan

    def with_errors(self, module: str, **variables: object) -> Plan:
        """Plan a module that may be refused."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = json.dumps({"module": module, "variables": NEEDED.get(module, {}) | variables})
        if asked not in self._known:
            print(asked, file=self._process.stdin, flush=True)
            self._known[asked] = Plan(json.loads(self._process.stdout.readline()))
        return self._known[asked]


@pytest.fixture(scope="session")
def plan() -> Iterator[Planner]:
    scripts = _script("infra")
    if not scripts.PYTHON.exists():
        reason = f"{scripts.ENVIRONMENT.name} is missing: `python scripts/infra.py` (or `make check`) makes it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    command = [scripts.PYTHON, scripts.CHECKS / "terraform.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Planner(process)


def _script(name: str) -> ModuleType:
    """Import a file of scripts/, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[f"scripts_{name}"] = module
    spec.loader.exec_module(module)
    return module
