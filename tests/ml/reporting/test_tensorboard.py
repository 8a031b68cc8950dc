"""Event files, read back by TensorBoard's own table of hyper-parameters."""

import pytest

from airflow_provider_distkeras.ml.reporting.tensorboard import event_files
from airflow_provider_distkeras.ml.tuning.trial import FoldResult, Trial
from tests.ml.reporting.results import make_result, make_trial


@pytest.fixture
def table(tmp_path):
    """Return the columns and the rows of TensorBoard's table of a search's trials."""
    from tensorboard import context
    from tensorboard.backend.event_processing import data_provider, plugin_event_multiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, get_experiment, list_session_groups

    def read(result):
        for path, content in event_files(result, ["r2", "rmse"]).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content)
        events = plugin_event_multiplexer.EventMultiplexer()
        events.AddRunsFromDirectory(str(tmp_path))
        events.Reload()
        provider = data_provider.MultiplexerDataProvider(events, str(tmp_path))
        hparams = backend_context.Context(base_plugin.TBContext(data_provider=provider))
        here = context.RequestContext()
        experiment = get_experiment.Handler(here, hparams, "", api_pb2.GetExperimentRequest()).run()
        request = api_pb2.ListSessionGroupsRequest(start_index=0, slice_size=100, allowed_statuses=api_pb2.Status.values())
        for metric in experiment.metric_infos:
            request.col_params.add().metric.CopyFrom(metric.name)
        groups = list_session_groups.Handler(here, hparams, "", request).run()
        return experiment, {group.sessions[0].name: group for group in groups.session_groups}

    return read


def test_trials_are_in_the_table_with_their_params_and_metrics(table):
    failed = Trial({"learning_rate": 9, "layers": None}, {0: FoldResult(error="DivergenceError: the loss is nan")})
    best = make_trial(0.5, history={"loss": [2.0, 1.0]}, learning_rate=0.1, layers=[8, 1])
    experiment, rows = table(make_result([best, failed]))

    assert {info.name for info in experiment.hparam_infos} == {"learning_rate", "layers"}
    assert [info.name.tag for info in experiment.metric_infos] == ["r2", "rmse"]
    assert sorted(rows) == ["trials/0000", "trials/0001"]
    values = rows["trials/0000"].hparams
    assert (values["learning_rate"].number_value, values["layers"].string_value) == (0.1, "[8, 1]")
    metrics = {value.name.tag: value.value for value in rows["trials/0000"].metric_values}
    assert metrics == pytest.approx({"r2": 0.55, "rmse": 1.1})
    assert rows["trials/0001"].hparams["layers"].string_value == "null"
    assert not rows["trials/0001"].metric_values


def test_a_search_of_one_trial_has_event_files():
    files = event_files(make_result([make_trial(0.5)]), ["r2"])
    assert sorted(path.rpartition("/")[0] for path in files) == ["", "refit", "trials/0000"]
