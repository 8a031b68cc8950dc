"""Spark properties that hold secrets, apart from those that may be seen, and their file."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.hooks.process import property_line, read_properties, read_redaction, split_secrets


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


def test_a_pattern_of_the_user_counts_among_variables_too():
    conf = {"spark.redaction.regex": "(?i)hush"}
    assert split_secrets({"MY_HUSH": 1, "HUSH_ON": "true", "A": "b"}, conf) == ({"HUSH_ON": "true", "A": "b"}, {"MY_HUSH": "1"})


@pytest.mark.parametrize("pattern", [r"(?i)my\.k\p{Lower}y", "[a-z&&[^x]]", "a{99999999999}", "("])
def test_a_pattern_that_python_does_not_read_is_refused_and_hides_all_until_then(pattern):
    conf = {"spark.redaction.regex": pattern}
    with pytest.raises(SpecError, match=r"conf: expected a spark.redaction.regex that both .* received .* Python does not:"):
        read_redaction(conf)
    assert split_secrets({"A": "b"}, conf) == ({}, {"A": "b"})


def test_a_property_is_one_line_of_the_file():
    assert property_line("a", "C:\\x\ny") == "a=C:\\\\x\\ny"


@pytest.mark.spark
def test_java_reads_every_property_as_it_was(spark):
    texts = ["a b", " a", "  #a", "!a", "a=b:c", "C:\\x\\", "é ü €", "\U0001f6b2", "a\nb\r\n\tc", "\x00\x7f\u2028", "'\"", "#"]
    properties = {f"name {text}": text for text in texts} | dict.fromkeys(texts, "x") | {"empty": ""}
    content = "\n".join(["spark.ui.enabled false", *(property_line(*pair) for pair in properties.items()), ""])

    read = spark._jvm.java.util.Properties()
    read.load(spark._jvm.java.io.StringReader(content))

    assert content.isascii()
    assert read.size() == len(properties) + 1
    assert {name: read.getProperty(name) for name in properties} == properties


def test_a_properties_file_that_cannot_be_read_is_named(tmp_path):
    for name, cause in (("none", "No such file"), ("", "Is a directory")):
        with pytest.raises(SpecError, match=f"properties_file: expected a file of Spark properties .* received .*{cause}"):
            read_properties(tmp_path / name)


def test_a_properties_file_in_another_encoding_is_decoded_as_spark_does(tmp_path):
    (tmp_path / "latin").write_bytes(b"# f\xfcr alle\na=b")
    assert read_properties(tmp_path / "latin") == "# f\ufffdr alle\na=b"
