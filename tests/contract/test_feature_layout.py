"""The layout of features, in manifests and in a column's metadata."""

import pytest

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.feature_layout import FeatureLayout, FeatureSpan

LAYOUT = FeatureLayout(
    (
        FeatureSpan("temp", "number", 0, 1, fill="mean"),
        FeatureSpan("store", "index", 1, 2, size=5),
        FeatureSpan("temp", "indicator", 2, 3),
        FeatureSpan("season", "category", 3, 7),
    )
)


def test_metadata_give_the_layout_back():
    assert FeatureLayout.of_metadata({"ml_attr": {}, **LAYOUT.to_metadata()}) == LAYOUT
    assert FeatureLayout.of_metadata({"ml_attr": {}}) is None


def test_only_an_index_has_a_size_so_that_other_entries_are_as_they_were():
    assert [sorted(entry) for entry in LAYOUT.to_list()] == [
        ["column", "fill", "kind", "start", "stop"],
        ["column", "fill", "kind", "size", "start", "stop"],
        ["column", "fill", "kind", "start", "stop"],
        ["column", "fill", "kind", "start", "stop"],
    ]


def test_columns_have_positions_and_indices_sizes():
    assert (LAYOUT.size, LAYOUT.sizes, LAYOUT.columns) == (7, {"store": 5}, ["temp", "store", "season"])
    assert LAYOUT.positions("temp") == [0, 2]
    assert LAYOUT.positions("season", "store") == [1, 3, 4, 5, 6]
    assert LAYOUT.index_position("store") == 1


def test_a_layout_of_a_later_version_is_refused():
    (content,) = LAYOUT.to_metadata().values()
    with pytest.raises(ArtifactError, match=r"has version 2, this package reads up to 1: upgrade"):
        FeatureLayout.of_metadata({"distkeras_layout": {**content, "version": 2}})
