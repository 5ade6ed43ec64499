"""What a module's role must hold to: exactly what the contract makes a client ask of its cloud.

Each cloud's test file names its contract file, its module, and says how its role decides (`allows`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tests.infra.conftest import ROOT, Plan
from tests.infra.permissions import Need

PREFIX = "tiercache/"


@pytest.mark.timeout(600)  # the first of them runs the contract
class ClientPermissions:
    """Records the contract's requests and compares them with the role."""

    cloud: ClassVar[str]
    contract: ClassVar[str]
    """Runs `BackendContract` against a server that speaks this cloud's protocol."""
    container: ClassVar[str]
    """The bucket or container of the plan."""
    outside: ClassVar[Sequence[Need]]
    """What the role must not allow."""
    members: ClassVar[dict[str, list[str]]] = {}
    """The variables that give the role to somebody."""

    def granted(self, planned: Plan) -> set[str]:
        """Return all permissions of the role."""
        raise NotImplementedError

    def allows(self, planned: Plan, need: Need) -> bool:
        """Return whether the role allows it, as the cloud would decide."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def planned(cls, plan) -> Plan:
        return plan(cls.cloud, prefix=PREFIX, **cls.members)

    @pytest.fixture(scope="class")
    @classmethod
    def needs(cls, tmp_path_factory) -> set[Need]:
        notes = tmp_path_factory.mktemp("recorded") / "needs.json"
        plugin = Path(__file__).parent
        env = os.environ | {"RECORD_CLOUD": cls.cloud, "RECORD_TO": str(notes), "PYTHONPATH": str(plugin)}
        env = {name: value for name, value in env.items() if not name.startswith("PYTEST_")}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "recorder", "-p", "no:cacheprovider", cls.contract]
        done = subprocess.run([*command, "-m", "not slow"], cwd=ROOT, env=env, capture_output=True, text=True)
        if done.returncode == 0 and " passed" not in done.stdout:
            pytest.skip(f"{cls.contract} ran no test here: {done.stdout.splitlines()[-2]}")
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
        recorded = json.loads(notes.read_text())
        assert not recorded["unknown"], f"add these to permissions.py: {recorded['unknown']}"
        made = {(container, prefix) for container, prefix in recorded["prefixes"]}
        return {cls.as_planned(Need(*need), made) for need in recorded["needs"]}

    @classmethod
    def as_planned(cls, need: Need, made: set[tuple[str, str]]) -> Need:
        """Return a request of a backend as one of a client with the plan's container and prefix.

        One that is below the prefix of no backend stays as it is, so that no role admits it.
        """
        prefixes = [
            prefix for container, prefix in made if container == need.container and need.name.startswith(prefix)
        ]
        if not prefixes:
            return need
        return Need(need.permission, cls.container, PREFIX + need.name.removeprefix(max(prefixes, key=len)))

    def test_the_role_grants_exactly_what_the_client_asks_for(self, planned, needs):
        assert self.granted(planned) == {need.permission for need in needs}

    def test_the_role_admits_every_request_of_the_client(self, planned, needs):
        assert [need for need in needs if not self.allows(planned, need)] == []

    def test_the_role_admits_nothing_outside(self, planned):
        assert [need for need in self.outside if self.allows(planned, need)] == []
