import pytest

from airflow_provider_distkeras.operators import DistKerasPreprocessOperator

pytestmark = pytest.mark.airflow


def test_result_reaches_xcom_key_by_key(stub, csv, run, tmp_path):
    done = run(
        lambda: DistKerasPreprocessOperator(
            task_id="prepare", input_path=str(csv), columns_renamed={"cnt": "label"}, artifact_root=str(tmp_path / "out")
        )
    )

    pushed = done.xcoms("prepare")
    assert done.state == "success"
    assert pushed["rows"] == 12
