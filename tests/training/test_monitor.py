"""The monitor of a fit, by a server that trains nothing."""

from types import SimpleNamespace

from airflow_provider_distkeras.contract.artifacts.progress import parse_event
from airflow_provider_distkeras.training import monitor
from airflow_provider_distkeras.training.monitor import MonitorOptions, TrainingMonitor


def test_a_fit_whose_workers_have_unequal_rows_has_trained_no_more_than_its_epochs(monkeypatch):
    """How many rows there are is an estimate, by those of the workers that have come so far."""
    ledger = SimpleNamespace(
        rows=30,
        workers={0: SimpleNamespace(rows=5)},
        epochs=[SimpleNamespace(rows=30, mean_loss=0.5)],
        mean_staleness=0.0,
        updates=3,
    )
    options = MonitorOptions(2, 2, None, None, 60.0, 60.0, print)
    fit, events = TrainingMonitor(SimpleNamespace(ledger=ledger), options), []
    monkeypatch.setattr(monitor.logger, "info", events.append)
    fit._report()

    assert fit.records[0]["epoch"] == 2
    assert parse_event(events[0].to_line()).done == 2
