"""Spark properties that hold secrets, apart from those that may be seen."""

import pytest

from airflow_provider_distkeras.hooks.process import property_line, split_secrets


@pytest.mark.parametrize(
    "name",
    [
        "spark.hadoop.fs.s3a.secret.key",
        "spark.hadoop.fs.s3a.access.key",
        "spark.ssl.keyPassword",
        "my.API_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
    ],
)
def test_what_spark_would_hide_is_secret(name):
    assert split_secrets({name: "x", "spark.ui.enabled": "false"}) == ({"spark.ui.enabled": "false"}, {name: "x"})


def test_a_secret_may_be_in_the_value():
    secret = {"spark.driver.extraJavaOptions": "-Djavax.net.ssl.trustStorePassword=x"}
    assert split_secrets(secret) == ({}, secret)


def test_the_user_may_have_more_hidden():
    conf = {"spark.redaction.regex": "(?i)hush", "my.hush": 1, "my.password": "x", "my.size": 2}
    assert split_secrets(conf) == ({"spark.redaction.regex": "(?i)hush", "my.size": 2}, {"my.hush": "1", "my.password": "x"})
    assert split_secrets({"spark.redaction.regex": r"\p{Alpha", "my.password": "x"})[1] == {"my.password": "x"}


def test_a_property_is_one_line_of_the_file():
    assert property_line("a", "C:\\x\ny") == "a=C:\\\\x\\ny"
