"""What the Spark cluster offers: addresses, slots, and whether its own connections are encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.errors import SpecError

if TYPE_CHECKING:
    from pyspark import SparkContext

_ENCRYPTION = (
    "spark.ssl.enabled",
    "spark.ssl.rpc.enabled",
    "spark.network.crypto.enabled",
    "spark.authenticate.enableSaslEncryption",
)


def addresses(context: SparkContext) -> tuple[str, str]:
    """The address the parameter server listens on, and the one the executors reach it by."""
    conf = context.getConf()
    if (context.master or "").startswith("local"):
        return "127.0.0.1", "127.0.0.1"
    host = conf.get("spark.driver.host", "")
    return conf.get("spark.driver.bindAddress", host), host


def slots(context: SparkContext) -> int:
    """How many tasks can run at the same time now."""
    scala = context._jsc.sc()
    return int(scala.maxNumConcurrentTasks(scala.resourceProfileManager().defaultResourceProfile()))


def check_slots(context: SparkContext, wanted: int, why: str) -> None:
    """Raise SpecError unless `wanted` tasks can run at the same time, saying what to set."""
    conf = context.getConf()
    if conf.get("spark.dynamicAllocation.enabled", "false") == "true":
        raise SpecError(
            f"{why} needs all its workers at the same time, which Spark does not promise under dynamic allocation. "
            "Set spark.dynamicAllocation.enabled=false, or use an asynchronous trainer such as ADAG."
        )
    free = slots(context)
    if free < wanted:
        master = context.master or ""
        fix = f"start Spark with local[{wanted}]" if master.startswith("local") else (
            "give the application more cores (spark.executor.instances, spark.executor.cores, spark.cores.max) "
            "or its tasks fewer (spark.task.cpus)"
        )  # fmt: skip
        raise SpecError(
            f"{why} needs {wanted} workers at the same time, this cluster runs {free} tasks. "
            f"Set num_workers to at most {free}, or {fix}, or use an asynchronous trainer such as ADAG."
        )


def check_encryption(context: SparkContext, encryption: str) -> None:
    """Raise SpecError if Spark's own connections are encrypted and ours would not be."""
    conf = context.getConf()
    on = [name for name in _ENCRYPTION if conf.get(name, "false") == "true"]
    if on and encryption == "none":
        raise SpecError(
            f"encryption: this cluster encrypts its connections ({on[0]}=true), and the workers' must be encrypted too: "
            "set encryption='tls'."
        )
