"""The pytest plugin, in pytest runs of their own, installed as an entry point as users have it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tiercache.testing import Fault, NetworkFault

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


@pytest.fixture
def installed(pytester, monkeypatch):
    """A directory in which the plugin is installed, and this working tree importable."""
    pytester.makefile(".txt", **{"plugin.dist-info/entry_points": "[pytest11]\ntiercache = tiercache.testing.plugin\n"})
    metadata = pytester.path / "plugin.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(pytester.path), str(ROOT), str(ROOT / "backends")]))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    monkeypatch.setenv("AWS_PROFILE", "of-the-developer")
    return pytester


@pytest.fixture
def without(installed):
    """A function that makes a package impossible to import in the runs to come."""

    def without(name):
        installed.makepyfile(**{name: f"raise ImportError('no {name} here', name='{name}')"})

    return without


def test_the_chain_and_the_cache_run_on_the_fake_clock(installed):
    installed.makepyfile(
        """
        def test_expiry(tiercache_cache, tiercache_chain, tiercache_clock, tmp_path):
            assert [tier.name for tier in tiercache_chain.tiers] == ["memory", "disk"]
            tiercache_cache.set("key", "value", ttl="1h")
            assert tiercache_cache.get("key") == "value"
            assert list(tmp_path.glob("*.sqlite3"))
            tiercache_clock.advance("1h")
            assert tiercache_cache.get("key") is None

        def test_nothing_is_left_for_the_next_test(tiercache_cache):
            assert tiercache_cache.get("key") is None
            tiercache_cache.set("key", "value", ttl="1h")

        async def test_it_awaits_too(tiercache_cache):
            await tiercache_cache.aset("key", "value")
            assert await tiercache_cache.aget("key") == "value"
        """
    )
    installed.makeini("[pytest]\nasyncio_mode = auto\n")
    installed.runpytest_subprocess().assert_outcomes(passed=3)


def test_a_bucket_is_there_offline(installed):
    installed.makepyfile(
        """
        import os
        from tiercache import Cache

        def test_a_bucket(tiercache_s3, tiercache_clock):
            assert "AWS_PROFILE" not in os.environ
            with Cache(tiercache_s3, clock=tiercache_clock) as cache:
                cache.set("key", "value", ttl="1h")
                assert cache.get("key") == "value"
                tiercache_clock.advance("1h")
                assert cache.get("key") is None

        def test_the_bucket_is_a_new_one_each_time(tiercache_s3):
            assert list(tiercache_s3.scan()) == []
            assert tiercache_s3.ping() is None
        """
    )
    installed.runpytest_subprocess().assert_outcomes(passed=2)


@pytest.mark.parametrize("package", ["moto", "boto3"])
def test_without_moto_or_boto3_the_bucket_says_what_to_install(installed, without, package):
    without(package)
    installed.makepyfile("def test_a_bucket(tiercache_s3): pass")
    result = installed.runpytest_subprocess("-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines([f"*tiercache_s3 needs the package '{package}': pip install*"])


def test_a_faulty_backend_and_a_proxy(installed):
    installed.makepyfile(
        """
        import socket
        import pytest
        from tiercache.errors import BackendTimeout
        from tiercache.testing import Rule

        def test_faults(tiercache_faulty):
            tiercache_faulty.inject(Rule("timeout"))
            with pytest.raises(BackendTimeout):
                tiercache_faulty.get("key")

        def test_a_proxy(tiercache_proxy):
            with socket.create_server(("127.0.0.1", 0)) as server:
                proxy = tiercache_proxy(f"127.0.0.1:{server.getsockname()[1]}")
                proxy.inject("refuse")
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection((proxy.host, proxy.port), 10)
        """
    )
    installed.runpytest_subprocess().assert_outcomes(passed=2)


def test_a_run_that_uses_nothing_of_it_imports_no_sdk(installed):
    installed.makepyfile(
        """
        import sys

        def test_imports(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("tiercache")
            heavy = {"boto3", "botocore", "moto", "redis", "google.cloud", "azure", "numpy", "tiercache_s3"}
            assert not heavy & set(sys.modules)
            assert not [name for name in sys.modules if name.startswith("tiercache.testing.") and "plugin" not in name]
        """
    )
    installed.runpytest_subprocess("-W", "error", "-p", "no:asyncio").assert_outcomes(passed=1)


def test_it_can_be_switched_off(installed):
    installed.makepyfile(
        """
        import sys

        def test_off(pytestconfig):
            assert not pytestconfig.pluginmanager.has_plugin("tiercache")
            assert "tiercache.testing.plugin" not in sys.modules

        def test_a_fixture_of_it(tiercache_cache):
            pass
        """
    )
    result = installed.runpytest_subprocess("-p", "no:tiercache")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*fixture 'tiercache_cache' not found*"])


def test_its_fixtures_are_listed_with_what_they_are(installed):
    result = installed.runpytest_subprocess("--fixtures", "-p", "no:cacheprovider")
    for name in ("clock", "chain", "cache", "s3", "faulty", "proxy"):
        result.stdout.fnmatch_lines([f"tiercache_{name} *"])
    assert sys.modules.get("tiercache.testing.plugin") is None, "this run does without it"


def test_the_test_of_the_documentation_runs_as_it_stands(installed):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    (block,) = [block for block in blocks if "def test_" in block and "import" not in block]
    installed.makepyfile(block)
    installed.runpytest_subprocess().assert_outcomes(passed=1)


def test_the_documentation_tells_all_fixtures_and_faults():
    plugin = (ROOT / "tiercache" / "testing" / "plugin.py").read_text(encoding="utf-8")
    fixtures = re.findall(r"^@pytest.fixture\ndef (\w+)", plugin, re.MULTILINE)
    assert len(fixtures) == 6
    for name in [*fixtures, *Fault, *NetworkFault]:
        assert f"`{name}`" in PAGE, name
