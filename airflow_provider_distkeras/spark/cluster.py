"""What the Spark cluster offers: addresses, slots, and whether its own connections are encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.errors import SpecError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import DataFrame

_ENCRYPTION = (
    "spark.ssl.enabled",
    "spark.ssl.rpc.enabled",
    "spark.network.crypto.enabled",
    "spark.authenticate.enableSaslEncryption",
)


def setting(context: SparkContext, name: str, default: str) -> str:
    """A Spark setting of the running application; asking for one is much faster than `getConf`, which fetches them all."""
    return str(context._conf.get(name, default))


def addresses(context: SparkContext) -> tuple[str, str]:
    """The address the parameter server listens on, and the one the executors reach it by."""
    if (context.master or "").startswith("local"):
        return "127.0.0.1", "127.0.0.1"
    host = setting(context, "spark.driver.host", "")
    return setting(context, "spark.driver.bindAddress", host), host


def slots(context: SparkContext) -> int:
    """How many tasks can run at the same time now."""
    scala = context._jsc.sc()
    return int(scala.maxNumConcurrentTasks(scala.resourceProfileManager().defaultResourceProfile()))


def check_slots(context: SparkContext, wanted: int, why: str) -> None:
    """Raise SpecError unless `wanted` tasks can run at the same time, saying what to set."""
    if setting(context, "spark.dynamicAllocation.enabled", "false") == "true":
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
    on = [name for name in _ENCRYPTION if setting(context, name, "false") == "true"]
    if on and encryption == "none":
        raise SpecError(
            f"encryption: this cluster encrypts its connections ({on[0]}=true), and the workers' must be encrypted too: "
            "set encryption='tls'."
        )


def deal(data: DataFrame, workers: int, evenly: bool) -> DataFrame:
    """The rows in as many partitions as there are workers.

    A shuffle of the rows can take longer than training an epoch of them, so data that lie in so many partitions already are
    left there, unless they must be dealt out `evenly`.
    """
    return data.repartition(workers) if evenly or _partitions(data) != workers else data


def _partitions(data: DataFrame) -> int | None:
    """How many partitions the rows lie in; None where only running the query would tell."""
    query = data._jdf.queryExecution()
    if query.executedPlan().getClass().getSimpleName() == "AdaptiveSparkPlanExec":
        return None
    return int(query.toRdd().getNumPartitions())
