"""What is asked of a cluster before a fit begins."""

from types import SimpleNamespace

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.spark import cluster


def context(master="spark://host:7077", **settings):
    return SimpleNamespace(master=master, _conf={name.replace("_", "."): value for name, value in settings.items()})


@pytest.mark.parametrize("master", ["spark://host:7077", "yarn", "k8s://https://host"])
@pytest.mark.parametrize("settings", [{}, {"spark_ssl_enabled": "true"}, {"spark_authenticate": "true"}], ids=str)
def test_tls_is_refused_where_the_secret_would_travel_in_clear(master, settings):
    with pytest.raises(SpecError, match=r"Set spark\.authenticate=true and spark\.network\.crypto\.enabled=true"):
        cluster.check_encryption(context(master, **settings), "tls")


@pytest.mark.parametrize(
    "name", ["spark_network_crypto_enabled", "spark_ssl_rpc_enabled", "spark_authenticate_enableSaslEncryption"]
)
def test_tls_goes_together_with_the_encryption_of_sparks_connections(name):
    cluster.check_encryption(context(**{name: "true"}), "tls")
    with pytest.raises(SpecError, match="set encryption='tls'"):
        cluster.check_encryption(context(**{name: "true"}), "none")


def test_a_local_master_has_no_connections_to_encrypt():
    cluster.check_encryption(context("local[2]"), "tls")
    cluster.check_encryption(context("local[2]"), "none")
