"""The trigger by itself, as the triggerer runs it: in an event loop, between others."""

import asyncio
import importlib
import json
import time

import pytest

from airflow_provider_distkeras.contract.artifacts.lease import Lease
from airflow_provider_distkeras.hooks import lease, monitor, termination
from airflow_provider_distkeras.triggers.spark_application import SparkApplicationTrigger
from tests.fakes.resource_manager import APPLICATION, resource_manager

pytestmark = pytest.mark.airflow


@pytest.fixture
def yarn(monkeypatch):
    with resource_manager() as manager:
        extra = {"deploy-mode": "cluster", "yarn_resourcemanager_webapp_address": manager.url}
        monkeypatch.setenv("AIRFLOW_CONN_YARN", json.dumps({"conn_type": "spark", "host": "yarn", "extra": extra}))
        yield manager


@pytest.fixture
def make(yarn, tmp_path):
    """Makes a trigger as the triggerer does: from what another one has serialized; its attempt is claimed."""
    (tmp_path / "p" / "a").mkdir(parents=True)
    (tmp_path / "p" / "a" / "_SPEC.json").write_text("{}")

    def make(**more):
        attempt = {"period_path": f"file://{tmp_path}/p", "name": "a"}
        values = {"conn_id": "yarn", "application_id": APPLICATION, "attempt": attempt, "lease_s": 600.0, "look_s": 0.01}
        path, arguments = SparkApplicationTrigger(**values | more).serialize()
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)(**json.loads(json.dumps(arguments)))

    return make


def fire(trigger):
    async def first():
        return await anext(trigger.run())

    return asyncio.run(asyncio.wait_for(first(), 30)).payload


def lease_in(tmp_path):
    return Lease.read((tmp_path / "p" / "a" / "_LEASE.json").read_bytes())


def test_fires_when_the_application_has_ended(yarn, make):
    yarn.states = ["ACCEPTED", "RUNNING", "RUNNING", "SUCCEEDED"]

    event = fire(make())

    assert (event["outcome"], event["attempt"]["name"], yarn.looks) == ("succeeded", "a", 4)


def test_failure_has_its_cause(yarn, make):
    yarn.states, yarn.diagnostics = ["RUNNING", "FAILED"], "Out of memory."

    event = fire(make())

    assert event["outcome"] == "failed"
    assert event["message"].startswith(f"The application {APPLICATION} ended without a result: FAILED. Out of memory.")


def test_outlives_a_silence_but_not_a_long_one(yarn, make, monkeypatch):
    monkeypatch.setattr(monitor, "UNREACHABLE_S", 0.2)
    yarn.trouble = 503
    started = time.monotonic()

    event = fire(make())

    assert event["outcome"] == "unreachable"
    assert "HTTP 503" in event["message"]
    assert time.monotonic() - started >= 0.2
    assert yarn.kills == []


def test_renews_the_lease_while_it_waits(yarn, make, tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "RENEW_S", 0.0)
    yarn.states = ["RUNNING"]
    seen = set()

    async def wait():
        running = asyncio.ensure_future(anext(make().run()))
        path = tmp_path / "p" / "a" / "_LEASE.json"
        while len(seen) < 3:
            if path.exists():
                seen.add(path.read_bytes())
            await asyncio.sleep(0.005)
        running.cancel()

    asyncio.run(asyncio.wait_for(wait(), 30))
    assert lease_in(tmp_path) == Lease(600.0)


def test_others_in_the_event_loop_go_on_while_the_cluster_takes_its_time(yarn, make, monkeypatch):
    yarn.delay_s = 0.5
    longest = 0.0

    async def beside():
        nonlocal longest
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            longest = max(longest, time.monotonic() - before)

    async def both():
        other = asyncio.ensure_future(beside())
        event = await anext(make().run())
        other.cancel()
        return event

    yarn.states = ["SUCCEEDED"]
    assert asyncio.run(both()).payload["outcome"] == "succeeded"
    assert longest < 0.4


def test_a_user_who_marks_the_task_kills_the_application(yarn, make, tmp_path):
    yarn.states = ["RUNNING"]

    asyncio.run(make().on_kill())

    assert yarn.kills == [APPLICATION]
    assert not (tmp_path / "p" / "a" / "_LEASE.json").exists()


def test_application_that_ignores_a_kill_is_ended_by_its_lease(yarn, make, tmp_path, monkeypatch):
    monkeypatch.setattr(termination, "KILL_S", 0.3)
    yarn.states, yarn.trouble = ["RUNNING"], 403

    asyncio.run(make().on_kill())

    assert lease_in(tmp_path).revoked


def test_a_triggerer_that_is_restarted_kills_nothing(yarn, make):
    yarn.states = ["RUNNING"]

    async def restart():
        trigger = make()
        running = asyncio.ensure_future(anext(trigger.run()))
        while not yarn.looks:
            await asyncio.sleep(0.005)
        running.cancel()
        await trigger.cleanup()

    asyncio.run(restart())
    assert yarn.kills == []


def test_time_that_is_up_kills_the_application(yarn, make):
    yarn.states = ["RUNNING"]

    event = fire(make(expires_at=time.time() + 0.2))

    assert (event["outcome"], yarn.kills) == ("timeout", [APPLICATION])
