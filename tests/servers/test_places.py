"""Where servers are looked for."""

import os

import pytest

from tiercache.testing.servers.places import in_project, in_wheel

MAIN = "node_modules/azurite/dist/src/blob/main.js"


@pytest.fixture(autouse=True)
def _no_named_directory(monkeypatch):
    monkeypatch.delenv("TIERCACHE_SERVERS_DIR", raising=False)


def install(place):
    place.joinpath(MAIN).parent.mkdir(parents=True)
    place.joinpath(MAIN).touch()
    return str(place.joinpath(MAIN))


def test_the_working_directory_comes_first(monkeypatch, tmp_path):
    inner = tmp_path / "inner"
    install(tmp_path / ".servers")
    found = install(inner / ".servers")
    monkeypatch.chdir(inner)
    assert in_project(MAIN) == [found]


def test_then_its_parents(monkeypatch, tmp_path):
    found = install(tmp_path / ".servers")
    tmp_path.joinpath("a/b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a/b")
    assert in_project(MAIN) == [found]


def test_a_named_directory_comes_before_both(monkeypatch, tmp_path):
    install(tmp_path / ".servers")
    found = install(tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIERCACHE_SERVERS_DIR", str(tmp_path / "elsewhere"))
    assert in_project(MAIN) == [found]


def test_a_named_directory_without_it_is_not_replaced(monkeypatch, tmp_path):
    install(tmp_path / ".servers")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIERCACHE_SERVERS_DIR", str(tmp_path))
    assert in_project(MAIN) == []


def test_a_directory_of_another_user_is_passed_over(monkeypatch, tmp_path):
    install(tmp_path / ".servers")
    monkeypatch.chdir(tmp_path)
    os.chown(tmp_path / ".servers", 65_534, -1) if os.getuid() == 0 else pytest.skip("only root can give a file away")
    assert in_project(MAIN) == []


def test_a_wheel_that_lost_the_mode_of_its_program_is_mended(monkeypatch, tmp_path):
    program = tmp_path / "wheelish" / "bin" / "server-linux"
    program.parent.mkdir(parents=True)
    program.parent.parent.joinpath("__init__.py").touch()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    monkeypatch.syspath_prepend(tmp_path)
    assert in_wheel("wheelish", "server-*") == [str(program)]
    assert os.access(program, os.X_OK)


def test_a_wheel_that_is_not_installed_has_nothing():
    assert in_wheel("no_such_wheel_at_all", "*") == []
