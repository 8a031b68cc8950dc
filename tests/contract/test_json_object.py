"""JSON of strangers: what cannot be read is one kind of error, in words."""

import pytest

from airflow_provider_distkeras.contract.errors import ArtifactError
from airflow_provider_distkeras.contract.json_object import Count, check_members, parse_object


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"7", b"null", "[" * 100_000, '{"a":' * 100_000, b"1" * 10_000])
def test_what_is_no_object_is_an_error_in_words(content):
    with pytest.raises(ArtifactError, match=r"^The file x cannot be read: "):
        parse_object(content, "The file x")


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (float, float("nan")),
        (float, float("inf")),
        (float, 10**400),
        (float, "1"),
        (float, None),
        (float, True),
        (int, 1.0),
        (str, 1),
    ],
)
def test_a_member_of_another_type_is_named(wanted, value):
    with pytest.raises(ArtifactError, match=f"The file x is not valid: expected a {wanted.__name__} as 'a', received "):
        check_members({"a": value}, {"a": wanted}, "The file x")


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (Count, -1, "a whole number of at least 0"),
        (Count, 1.0, "a whole number of at least 0"),
        (Count, 10**400, "a whole number of at least 0"),
        (float | None, "1", "a float | None"),
        (dict[str, int], [], r"a dict\[str, int\]"),
    ],
)
def test_a_count_or_one_of_two_types_is_named(wanted, value, expected):
    with pytest.raises(ArtifactError, match=f"expected {expected.replace('|', '[|]')} as 'a', received "):
        check_members({"a": value}, {"a": wanted}, "The file x")


def test_the_message_of_a_large_member_is_short():
    with pytest.raises(ArtifactError) as error:
        check_members({"a": ["x" * 1000] * 1000}, {"a": str}, "The file x")
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("wanted", "value"),
    [
        (float, 1),
        (float, 1.5),
        (int, 3),
        (str, ""),
        (bool, False),
        (dict, {}),
        (Count, 0),
        (float | None, None),
        (float | None, 2),
        (dict[str, int] | None, {}),
    ],
)
def test_a_member_of_its_type_is_valid(wanted, value):
    check_members({"a": value, "other": None}, {"a": wanted, "missing": str}, "The file x")
