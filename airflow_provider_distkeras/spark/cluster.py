"""The Spark cluster: its settings, addresses and slots, and whether its own connections are encrypted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_distkeras.contract.errors import SpecError

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import DataFrame

#: The settings that encrypt what the driver sends to executors, tasks included; any of them does.
_RPC_ENCRYPTION = ("spark.network.crypto.enabled", "spark.ssl.rpc.enabled", "spark.authenticate.enableSaslEncryption")
_ENCRYPTION = (*_RPC_ENCRYPTION, "spark.ssl.enabled")


def setting(context: SparkContext, name: str, default: str) -> str:
    """Return a Spark setting of the running application; this is much faster than `getConf`, which fetches all settings."""
    return str(context._conf.get(name, default))


def is_local(context: SparkContext) -> bool:
    """Return whether all of Spark runs on this machine."""
    return (context.master or "").startswith("local")


def addresses(context: SparkContext) -> tuple[str, str]:
    """Return the address that the parameter server listens on, and the address by which executors reach it."""
    if is_local(context):
        return "127.0.0.1", "127.0.0.1"
    host = setting(context, "spark.driver.host", "")
    return setting(context, "spark.driver.bindAddress", host), host


def slots(context: SparkContext) -> int:
    """Return how many tasks can run at the same time now."""
    scala = context._jsc.sc()
    return int(scala.maxNumConcurrentTasks(scala.resourceProfileManager().defaultResourceProfile()))


def is_elastic(context: SparkContext) -> bool:
    """Return whether Spark may add slots later, or take some away."""
    return setting(context, "spark.dynamicAllocation.enabled", "false") == "true"


def more_slots(context: SparkContext, workers: int) -> str:
    """Return what to do, as an imperative, so that as many tasks as `workers` can run at the same time."""
    if is_local(context):
        return f"start Spark with local[{workers}]"
    return (
        "give the application more cores (spark.executor.instances, spark.executor.cores, spark.cores.max) "
        "or its tasks fewer (spark.task.cpus)"
    )


def check_slots(context: SparkContext, workers: int, trainer: str) -> None:
    """Raise SpecError unless as many tasks as `workers` can run at the same time, for the trainer that needs them."""
    if is_elastic(context):
        raise SpecError(
            f"{trainer} needs all its workers at the same time, which Spark does not promise under dynamic allocation. "
            "Set spark.dynamicAllocation.enabled=false, or use an asynchronous trainer such as ADAG."
        )
    free = slots(context)
    if free < workers:
        raise SpecError(
            f"{trainer} needs {workers} workers at the same time, this cluster runs {free} tasks. Set num_workers to at most "
            f"{free}, or {more_slots(context, workers)}, or use an asynchronous trainer such as ADAG."
        )


def check_encryption(context: SparkContext, encryption: str) -> None:
    """Raise SpecError unless Spark's own connections are encrypted if ours are, and the other way round.

    The run's secret reaches the executors with their tasks, over Spark's connections: whoever reads those can pass for a worker.
    """
    on = [name for name in _ENCRYPTION if setting(context, name, "false") == "true"]
    if on and encryption == "none":
        raise SpecError(
            f"encryption: this cluster encrypts its connections ({on[0]}=true), and the workers' must be encrypted too: "
            "set encryption='tls'."
        )
    if encryption == "tls" and not is_local(context) and not set(on) & set(_RPC_ENCRYPTION):
        raise SpecError(
            "encryption: 'tls' needs Spark's own connections to be encrypted too, for over them the run's secret reaches the "
            "executors; on this cluster they are not. Set spark.authenticate=true and spark.network.crypto.enabled=true "
            "(and spark.authenticate.secret, on a standalone cluster for its master and workers, too), or "
            "spark.ssl.rpc.enabled=true; on a network that you trust, set encryption='none'."
        )


def deal(data: DataFrame, workers: int, evenly: bool) -> DataFrame:
    """Return the rows in as many partitions as there are workers.

    A shuffle of the rows can take longer than an epoch of training. So data that lie in so many partitions already stay there.

    Args:
        data: the rows.
        workers: the number of workers.
        evenly: whether the partitions must have equal sizes, so that the rows are always shuffled.
    """
    return data.repartition(workers) if evenly or _partitions(data) != workers else data


def _partitions(data: DataFrame) -> int | None:
    """Return how many partitions the rows lie in; None where that shows only when the query runs."""
    query = data._jdf.queryExecution()
    if query.executedPlan().getClass().getSimpleName() == "AdaptiveSparkPlanExec":
        return None
    return int(query.toRdd().getNumPartitions())
