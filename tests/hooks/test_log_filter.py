"""Needless lines in a job's log, and the settings that prevent them."""

import pytest

from airflow_provider_distkeras.hooks import log_filter
from airflow_provider_distkeras.hooks.log_filter import LogFilter


@pytest.mark.parametrize("level", ["W", "E"])
def test_a_line_of_a_native_library_is_shown_once(level):
    line = f"{level}0000 00:00:1795601047.589747   1138%d cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: %s\n"
    noisy = LogFilter()
    assert [noisy.drops(line % values) for values in ((4, "a"), (5, "a"), (6, "b"))] == [False, True, False]


def test_a_failed_start_of_cuda_is_shown_unless_a_line_reports_no_cuda():
    there_is_none = (
        "I0000 00:00:1795601046.6 7 cudart_stub.cc:31] Could not find cuda drivers on your machine, GPU will not be used."
    )
    error = (
        "E0000 00:00:1795601047.5 7 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: %s"
    )
    missing, broken = error % "UNKNOWN ERROR (303)", error % "CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected (100)"
    alone, after = LogFilter(), LogFilter()
    assert [alone.drops(missing), alone.drops(broken)] == [False, False]
    assert [after.drops(there_is_none), after.drops(missing), after.drops(broken)] == [False, True, False]


def test_other_options_of_java_stay():
    assert log_filter.quiet({"SPARK_SUBMIT_OPTS": "-Xss4m"}, None)["SPARK_SUBMIT_OPTS"].endswith("log4j2.properties -Xss4m")


@pytest.mark.parametrize("by_variable", [True, False])
def test_a_log_configuration_beside_spark_takes_precedence(tmp_path, by_variable):
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "log4j2.properties").touch()
    environ, home = ({"SPARK_CONF_DIR": str(tmp_path / "conf")}, None) if by_variable else ({}, tmp_path)
    assert "SPARK_SUBMIT_OPTS" not in log_filter.quiet(environ, home)
