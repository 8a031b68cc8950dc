"""The feature columns of a spec and a header."""

import pytest

from airflow_provider_distkeras.contract.errors import DataError
from airflow_provider_distkeras.contract.specs import PreprocessSpec
from airflow_provider_distkeras.contract.specs.feature_columns import feature_columns

USUAL = {"columns_renamed": {"cnt": "label"}}


def features(columns, **fields):
    return feature_columns(PreprocessSpec.build(input_path="a.csv", **fields), columns)


def test_features_keep_the_order_of_the_file_under_their_new_names():
    renamed = {"cnt": "label", "t": "temp"}
    assert features(["id", "t", "hum", "cnt"], columns_renamed=renamed, excluded_columns=["id"]) == ["temp", "hum"]


def test_columns_with_a_role_are_no_features():
    roles = {"weight_col": "w", "fold_col": "f", "validation_col": "check"}
    assert features(["f", "t", "w", "v", "cnt"], columns_renamed={"cnt": "label", "v": "check"}, **roles) == ["t"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "The label column 'label' is absent; the columns are id, temp, cnt."),
        ({"columns_renamed": {"count": "label"}}, "columns_renamed: Unknown column 'count'. Did you mean 'cnt'?"),
        ({**USUAL, "excluded_columns": ["idd"]}, "excluded_columns: Unknown column 'idd'. Did you mean 'id'?"),
        ({**USUAL, "categorical_columns": ["tmp"]}, "categorical_columns: Unknown column 'tmp'. Did you mean 'temp'?"),
        ({**USUAL, "timestamp_columns": {"tmp": ["hour"]}}, "timestamp_columns: Unknown column 'tmp'. Did you mean 'temp'?"),
        ({**USUAL, "weight_col": "tmp"}, "weight_col: Unknown column 'tmp'. Did you mean 'temp'?"),
        ({**USUAL, "missing": {"tmp": 0}}, "missing: Unknown column 'tmp'. Did you mean 'temp'?"),
        ({**USUAL, "schema": {"label": "number"}}, "schema: Unknown column 'label'."),
        ({"columns_renamed": {"cnt": "label", "id": "temp"}}, "Duplicate column 'temp' after columns_renamed"),
        ({**USUAL, "excluded_columns": ["id", "temp"]}, "No feature column is left"),
        ({"columns_renamed": {"cnt": "label", "id": "prediction"}}, "has the name of a column that the model adds"),
        ({"columns_renamed": {"cnt": "label", "id": "a.b"}}, "has a character that Spark ML cannot take"),
    ],
)
def test_columns_that_do_not_fit_are_named_with_the_fix(fields, message):
    with pytest.raises(DataError) as error:
        features(["id", "temp", "cnt"], **fields)
    assert message in str(error.value)
