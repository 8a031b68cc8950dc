"""What counts as a secret: names of properties and variables, and credentials in URIs."""

import pytest

from airflow_provider_distkeras.contract.secrets import holds_credentials, is_secret, secret_texts

SECRET_NAMES = [
    "spark.hadoop.fs.s3a.access.key", "spark.hadoop.fs.s3a.bucket.bikes.secret.key", "spark.hadoop.fs.s3a.session.token",
    "spark.hadoop.fs.s3a.encryption.key", "spark.hadoop.fs.azure.account.key.bikes.dfs.core.windows.net",
    "spark.hadoop.fs.azure.account.oauth2.client.secret.bikes.dfs.core.windows.net",
    "spark.hadoop.fs.azure.sas.files.bikes.blob.core.windows.net", "spark.hadoop.fs.azure.sas.fixed.token",
    "spark.hadoop.fs.adl.oauth2.credential", "spark.hadoop.fs.gs.auth.service.account.private.key",
    "spark.hadoop.fs.oss.accessKeyId", "spark.ssl.keyPassword", "spark.openlineage.transport.auth.apiKey",
    "spark.openlineage.transport.transports.a.headers.X", "AWS_ACCESS_KEY_ID", "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_CONNECTION_STRING", "OPENAI_API_KEY", "my.passphrase", "spark.executorEnv.MYSQL_PWD", "DB_PASS",
    "spark.x.credential", "spark.x.authorization", "FERNET_KEY", "SIGNING_KEY", "MASTER_KEY", "PGPASS", "DBPASS", "JWT",
    "spark.hadoop.fs.azure.account.key.filestore.dfs.core.windows.net", "spark.hadoop.fs.azure.account.key.provider1",
]  # fmt: skip

PLAIN = {
    "spark.master": "k8s://https://host:443",
    "spark.jars.packages": "org.apache.hadoop:hadoop-aws:3.4.2,com.acme:x:1",
    "spark.jars": "s3a://jars/a.jar,hdfs://one:8020,two:8020/b@c.jar",
    "spark.hadoop.fs.defaultFS": "abfss://files@bikes.dfs.core.windows.net",
    "spark.yarn.stagingDir": "hdfs://ann@host:8020/staging",
    "spark.driver.extraJavaOptions": "-Dproxy=http://proxy:8080 -Dmail=ann@example.com -Dlog=file:/etc/a:b@c",
    "spark.openlineage.transport.auth.type": "api_key",
    "spark.openlineage.transport.url": "http://lineage",
    "spark.sql.keyOrder": "a",
    "spark.hadoop.security.credential.provider.path": "jceks://file/etc/store.jceks",
    "spark.hadoop.fs.s3a.aws.credentials.provider": "com.acme.Provider",
    "spark.x.passes": "3",
    "spark.security.credentials.hive.enabled": "no",
    "spark.security.credentials.retryWait": "1h",
    "spark.yarn.credentials.file.retention.count": "5",
    "spark.kerberos.renewal.credentials": "keytab",
    "spark.io.encryption.keySizeBits": "256",
    "spark.io.encryption.keygen.algorithm": "HmacSHA1",
    "spark.hadoop.hadoop.security.authorization": "on",
    "spark.hadoop.hive.security.authorization.enabled": "on",
    "spark.hadoop.fs.azure.authorization.caching.enable": "on",
    "spark.hadoop.parquet.encryption.key.material.store.internally": "no",
    "spark.hadoop.fs.azure.account.keyprovider.bikes": "com.acme.Provider",
    "spark.jars.ivySettings": "http://[::1]:8081/lib@2.xml",
    "PWD": "/home/ann",
    "PGPASSFILE": "/home/ann/.pgpass",
}

CREDENTIALS = [
    "hdfs://ann:pa55@host:8020/a", "https://ann:pa55@maven.example.com/x", "s3a://AKIA@bikes", "https://a/b?sv=1&sig=abc",
    "https://b.s3.amazonaws.com/a?X-Amz-Algorithm=AWS4&X-Amz-Signature=0f", "jdbc:postgresql://ann:pa55@host/db",
    "-Dhttp.proxy=http://ann:pa55@proxy:8080", "https://plain.example.com,https://ann:12@b.example.com",
    "https://t0ken@example.com/x.jar", "https://example.com/x.jar?access_token=abc", "s3a://b/x?a=1&Signature=abc",
    "https://b/x.jar?private_token=abc", "https://b/x?apikey=abc", "https://b/x?X-Amz-Security-Token=abc", "s3a://b/x?password=a",
    "abfss://c@a/x?code=abc", "https://b/x?auth=abc", "s3a://b/x#access_token=abc", "s3a://b/x;api_key=abc", "hdfs:/x?token=abc",
    "https://b/x?a=1&passwd=abc", "https://b/x?pwd=abc", "/a.jar,https://b/x.jar?key=abc", "https://b/x?a=1,2&token=abc", "{https://b/x?token=abc,/a}",
    "git+https://t0ken@example.com/x", "jdbc:oracle:thin:ann/pa55@host", "http://ann:pa55@[::1]:8081/x",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_of_a_secret_is_known(name):
    assert is_secret(name, "x")


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_plain_stays_so(name):
    assert not is_secret(name, PLAIN[name])


@pytest.mark.parametrize("text", CREDENTIALS)
def test_credentials_in_a_uri_are_found_wherever_it_stands(text):
    assert holds_credentials(text)
    assert is_secret("spark.hadoop.fs.defaultFS", text)


@pytest.mark.parametrize("text", [
        "http://[::1]:8081/lib@2.jar", "hdfs://[::1]:8020/a@b.csv", "hdfs://[::1]:8020,[::2]:8020/a@b.csv", "git+ssh://git@b/x",
        "/data/2026?sig=1.csv", "file:///data/2026?sig=1.csv", "/a&token=1", "s3a://b/token=1/x.csv", "s3a://b/x?use_token=true",
        "hdfs://b/env.tgz#environment", "https://b/x?version=3", "jdbc:oracle:thin:@host:1521/x",
    ],
)  # fmt: skip
def test_what_only_looks_like_credentials_is_none(text):
    assert not holds_credentials(text)


@pytest.mark.parametrize("value", [
        "jdbc:sqlserver://host;pwd=abc", "a=1&passwd=abc", "-javaagent:/a.jar=license_key=abc", "-Ddb.pass=abc", "?sv=1&sig=abc",
        "AccountName=bikes;AccountKey=abc==", "Bearer abc.def.ghi",
    ],
)  # fmt: skip
def test_a_secret_in_a_value_is_known(value):
    assert is_secret("spark.x", value)


@pytest.mark.parametrize("value", ["true", "False", "None", ""])
def test_what_turns_something_on_or_off_is_no_secret(value):
    assert not is_secret("my.token", value)
    assert not is_secret("spark.x", f"-Dmy.api.key.enabled={value}")
    assert [*secret_texts(f"-Dmy.token={value} -Dmy.pass=pa55")] == [f"-Dmy.token={value} -Dmy.pass=pa55", "pa55"]


def test_the_parts_of_a_secret_are_hidden_too():
    options = """-Xmx2g -Dx.Password=pa55 -Dy.token="a b" -Dz=plain"""
    assert [*secret_texts(options)] == [options, "pa55", "a b"]
    assert is_secret("spark.driver.extraJavaOptions", "-Dmy.api.key=x")
    assert [*secret_texts("s3a://AKIA:se/cr3t@bikes")] == ["s3a://AKIA:se/cr3t@bikes", "se/cr3t"]
    address = "https://b/x?private_token=t0ken&a=1"
    assert [*secret_texts(address)] == [address, "t0ken&a=1", "t0ken"]
    assert [*secret_texts("-javaagent:/a.jar=license_key=l1cense")] == ["-javaagent:/a.jar=license_key=l1cense", "l1cense"]


@pytest.mark.spark
def test_spark_hides_the_same(spark):
    from airflow_provider_distkeras.contract.secrets import SECRET

    pattern = spark._jvm.java.util.regex.Pattern.compile(SECRET)
    hidden = [*SECRET_NAMES, *CREDENTIALS]
    assert [text for text in hidden if not pattern.matcher(text).find()] == []
    assert [name for name in PLAIN if pattern.matcher(name).find()] == []
