"""Mapped tasks over a list that changes from run to run: folders, drift, pages and links stay with their segment."""

import html
import re
from datetime import UTC, datetime
from urllib.parse import urljoin

import pytest

from airflow_provider_distkeras.links.training_report import TrainingReportLink
from airflow_provider_distkeras.operators import DistKerasPreprocessOperator, DistKerasTrainOperator
from tests.operators.test_execution import request_of

pytestmark = pytest.mark.airflow

#: The list of each month's run.
LISTS = {1: ["A", "B", "C"], 2: ["C", "A"], 3: ["B"]}
PAGE = "/distkeras/metrics/dag"


@pytest.fixture
def months(stub, run, root, tmp_path):
    """Runs of a preprocess and a train task, mapped over each month's list; each report names its folder."""

    def pipeline(names):
        prepared = DistKerasPreprocessOperator.partial(
            task_id="prepare", map_key="{{ task.input_path.split('/')[-1][0] }}", columns_renamed={"cnt": "label"},
            compare_with="previous", artifact_root=str(root),
        ).expand(input_path=[str(tmp_path / f"{name}.csv") for name in names])  # fmt: skip
        DistKerasTrainOperator.partial(
            task_id="train", map_key="{{ task.dataset_path.split('/')[-4] }}", hyperparameters={"layer_dims": [None, 8, 1]},
            artifact_root=str(root),
        ).expand(dataset_path=prepared.output.map(lambda result: result["dataset_path"]))  # fmt: skip

    for name in "ABC":
        (tmp_path / f"{name}.csv").write_text("temp,cnt\n0.5,12\n0.7,30\n")
    done = {
        month: run(lambda names=names: pipeline(names), logical_date=datetime(2026, month, 1, tzinfo=UTC))
        for month, names in LISTS.items()
    }
    for report in (root / "dag" / "train").glob("*/*/*/report"):
        report.write_text("/".join(report.parts[-4:-2]))
    return done


def test_segments_stay_apart_whatever_their_place_in_the_list(months, stub, root, client, log_in):
    def get(address):
        return client.get(address, headers=log_in("ADMIN")).text

    def reports(page, text):
        return [get(urljoin(page, html.unescape(link)))[: len("A/period=2026-01")] for link in re.findall(r'href="(.*?)"', text)]

    requests = [request_of(call) for call in stub.calls()]
    compared = {
        tuple(request["attempt"]["period_path"].split("/")[-2:]): request["spec"]["compare_with"].split("/")[-4:-2]
        for request in requests
        if request["spec"].get("compare_with")
    }
    assert compared == {
        (name, f"period=2026-0{month}-01T000000Z"): [name, "period=2026-01-01T000000Z"]
        for name, month in (("A", 2), ("C", 2), ("B", 3))
    }
    for kind in ("prepare", "train"):
        periods = {
            folder.name: sorted(each.name[12:14] for each in folder.iterdir()) for folder in (root / "dag" / kind).iterdir()
        }
        assert periods == {"A": ["01", "02"], "B": ["01", "03"], "C": ["01", "02"]}
    sections = re.split(r"<h2>(.*?)</h2>", get(PAGE))[1:]
    assert {title: reports(PAGE, text) for title, text in zip(sections[::2], sections[1::2], strict=True)} == {
        f"train [{name}]": [f"{name}/period=2026-{month}" for month in months_of]
        for name, months_of in (("A", ("02", "01")), ("B", ("03", "01")), ("C", ("02", "01")))
    }
    for month, names in LISTS.items():
        page = f"/distkeras/run/dag?run_id={months[month].dag_run.run_id.replace('+', '%2B')}"
        text = get(page)
        if len(names) == 1:
            assert text.startswith(f"{names[0]}/period=2026-0{month}")
            continue
        assert re.findall(r"<td>(train .*?)</td>", text) == [f"train [{name}]" for name in names]
        assert reports(page, text) == [f"{name}/period=2026-0{month}" for name in names]
    assert get(months[3].xcoms("train")[TrainingReportLink.KEY]).startswith("B/period=2026-03")
