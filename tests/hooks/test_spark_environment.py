import os
import subprocess
import sys
from importlib.metadata import Distribution

import pytest

from airflow_provider_distkeras.hooks import spark_environment
from airflow_provider_distkeras.hooks.spark_environment import SparkEnvironmentError, find_java_home, find_spark_home
from tests.fakes.spark_installation import make_java, write_script


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine with no Java but what a test puts there."""
    monkeypatch.setattr(spark_environment, "_USUAL_PLACES", ((str(tmp_path / "jvm"), "*"),))
    return {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)}


def test_java_home_comes_first(bare, tmp_path):
    chosen = make_java(tmp_path / "chosen", "21.0.2")
    make_java(tmp_path / "jvm" / "java-17", "17.0.9")

    assert find_java_home({**bare, "JAVA_HOME": str(chosen)}) == chosen


def test_java_on_path_comes_before_the_usual_places(bare, tmp_path):
    on_path = make_java(tmp_path / "opt" / "java", "17.0.9")
    make_java(tmp_path / "jvm" / "java-17", "17.0.9")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(on_path / "bin" / "java")

    assert find_java_home(bare) == on_path


def test_java_that_does_not_fit_is_passed_over(bare, tmp_path):
    newest = make_java(tmp_path / "newest", "25.0.1")
    make_java(tmp_path / "jvm" / "a-stripped-17", "17.0.9", vector=False)
    fits = make_java(tmp_path / "jvm" / "b-full-17", "17.0.9")

    assert find_java_home({**bare, "JAVA_HOME": str(newest)}) == fits


def test_sdkman_is_a_usual_place(bare, tmp_path):
    fits = make_java(tmp_path / ".sdkman" / "candidates" / "java" / "21-tem", "21")

    assert find_java_home(bare) == fits


def test_message_names_the_java_that_does_not_fit_and_why(bare, tmp_path):
    make_java(tmp_path / "jvm" / "old", "11.0.1")
    make_java(tmp_path / "jvm" / "stripped", "17.0.9", vector=False)

    with pytest.raises(SparkEnvironmentError) as caught:
        find_java_home(bare)

    assert f"{tmp_path}/jvm/old (11" in str(caught.value)
    assert f"{tmp_path}/jvm/stripped (17, without jdk.incubator.vector)" in str(caught.value)


def test_message_without_any_java_names_what_is_needed_and_the_places_searched(bare, tmp_path):
    with pytest.raises(SparkEnvironmentError) as caught:
        find_java_home(bare)

    assert str(caught.value) == (
        "Spark needs Java 17 or 21. Install Java 17 or 21 with the module jdk.incubator.vector, or set JAVA_HOME to it. "
        f"Searched: JAVA_HOME, PATH, {tmp_path}/jvm and ~/.sdkman."
    )


def test_spark_home_is_the_installed_one(stub):
    assert find_spark_home() == stub.home


def test_pyspark_without_spark_submit(stub):
    (stub.home / "bin" / "spark-submit").unlink()

    with pytest.raises(SparkEnvironmentError, match=r"There is no spark-submit .* -m pip install pyspark=="):
        find_spark_home()


def test_pyspark_and_its_client_of_different_releases(stub):
    for name, version in (("pyspark", "4.3.0"), ("pyspark_client", "4.2.0")):
        info = stub.home.parent / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    assert Distribution.from_name("pyspark").version == "4.3.0"

    with pytest.raises(SparkEnvironmentError) as caught:
        find_spark_home()

    assert str(caught.value).startswith("pyspark 4.3.0 and pyspark-client 4.2.0 are installed into the same folder")
    assert "pip install --force-reinstall --no-deps pyspark==4.3.0 pyspark-client==4.3.0" in str(caught.value)


def test_command_prints_the_java_home(tmp_path):
    fits = make_java(tmp_path / "java", "17.0.9")
    command = [sys.executable, "-m", "airflow_provider_distkeras.hooks.spark_environment"]
    done = subprocess.run(command, env={**os.environ, "JAVA_HOME": str(fits)}, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == str(fits)


def test_java_that_does_not_run_is_no_java(tmp_path):
    write_script(tmp_path / "bin" / "java", "#!/bin/sh\nexit 1\n")

    assert spark_environment.java_version(tmp_path) is None
