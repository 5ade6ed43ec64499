"""Servers that fork after use: gunicorn --preload, celery's prefork pool."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.peers import free_port
from tests.processes.harness import HEAD, environment

GUARD = 90
__all__ = ["free_port"]

APPLICATION = (
    HEAD.replace("signal.alarm(60)", "pass").replace("sys.argv[1:3]", 'os.environ["URL"], os.environ["HOME_OF_TEST"]')
    + """
cache = make()
own_values(cache, "master")  # used before the fork

def application(environ, respond):
    name = environ["QUERY_STRING"]
    value = cache.get_or_set(name, lambda: f"value of {name}")
    own_values(cache, f"{name}-{os.getpid()}", 3)
    respond("200 OK", [("Content-Type", "text/plain"), ("X-Worker", str(os.getpid()))])
    return [value.encode()]
"""
)


def test_gunicorn_preloaded(redis_url: str, tmp_path: Path, free_port: int) -> None:
    pytest.importorskip("gunicorn", reason="gunicorn is not installed")
    (tmp_path / "web.py").write_text(APPLICATION)
    env = environment(f"{uuid.uuid4().hex}:", {"URL": redis_url, "HOME_OF_TEST": str(tmp_path)})
    command = [sys.executable, "-m", "gunicorn", "--preload", "--workers", "2", "--threads", "4", "--chdir"]
    command += [str(tmp_path), "--bind", f"127.0.0.1:{free_port}", "--no-control-socket", "web:application"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as server:
        try:
            _wait_for(f"http://127.0.0.1:{free_port}/?start", server)
            with ThreadPoolExecutor(8) as threads:
                answers = list(threads.map(lambda n: _ask(free_port, f"k{n % 20}"), range(200)))
        finally:
            server.send_signal(signal.SIGTERM)
        _, errors = server.communicate(timeout=GUARD)
    assert [answer for answer, _ in answers] == [f"value of k{n % 20}" for n in range(200)]
    assert len({worker for _, worker in answers}) == 2
    assert "Traceback" not in errors, errors


CELERY = (
    APPLICATION
    + """
import celery
app = celery.Celery("tasks", broker=os.environ["URL"], backend=os.environ["URL"])
app.conf.task_default_queue = os.environ["PREFIX"]
app.conf.broker_connection_retry_on_startup = True

@app.task
def work(name):
    own_values(cache, f"{name}-{os.getpid()}", 3)
    return cache.get_or_set(name, lambda: f"value of {name}")
"""
)


@pytest.mark.slow
def test_celery_prefork(redis_url: str, tmp_path: Path) -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    (tmp_path / "tasks.py").write_text(CELERY)
    env = environment(f"{uuid.uuid4().hex}:", {"URL": redis_url, "HOME_OF_TEST": str(tmp_path)})
    env["PYTHONPATH"] += os.pathsep + str(tmp_path)
    worker = [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2"]
    caller = """
import tasks
results = [tasks.work.delay(f"k{n % 10}") for n in range(40)]
assert [result.get(timeout=60) for result in results] == [f"value of k{n % 10}" for n in range(40)]
"""
    with subprocess.Popen(
        [*worker, "--without-mingle", "--without-gossip"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        try:
            ended = subprocess.run(
                [sys.executable, "-c", caller], env=env, timeout=GUARD, capture_output=True, text=True, check=False
            )
        finally:
            server.send_signal(signal.SIGTERM)
        log, _ = server.communicate(timeout=GUARD)
    assert ended.returncode == 0, ended.stderr + log
    assert not re.search(r"Traceback|ERROR", log), log


def _ask(port: int, name: str) -> tuple[str, str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/?{name}", timeout=30) as answer:
        return answer.read().decode(), answer.headers["X-Worker"]


def _wait_for(url: str, server: subprocess.Popen[str]) -> None:
    ends = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > ends:
                server.kill()
                raise AssertionError(server.stderr.read() if server.stderr else "it did not start") from None
            time.sleep(0.05)
