"""Formats of times: which of them say one time."""

import pytest

from airflow_provider_distkeras.contract.errors import SpecError
from airflow_provider_distkeras.contract.files.time_format import check_time_format


@pytest.mark.parametrize(
    "time_format",
    [
        "%Y-%m-%d", "%d.%m.%y %H:%M", "%d%b%Y:%H:%M:%S", "%Y", "%Y-%m", "%B %Y", "%H:%M", "%M:%S.%f", "%I:%M:%S %p", "%Y-%j",
        "%A, %d %B %Y", "%a %j %y", "%Y %U %w", "%Y-%W-%a", "%G-W%V-%u", "%d/%m/%Y %%Z", "100%% %F %T%z", "%D %R", "%e %h %Y",
    ],
)  # fmt: skip
def test_a_format_that_says_one_time_is_taken(time_format):
    check_time_format("f", time_format)


@pytest.mark.parametrize(
    ("time_format", "message"),
    [
        ("%G-W%V", "f: %G %V in '%G-W%V' does not make one date. Expected %Y, %Y %m or %Y %m %d, %Y %j, %Y %U %a, %G %V %u"),
        ("%H:%M %p", "f: %H %p in '%H:%M %p' does not make one hour. Expected %H, or %I with %p."),
        ("%I:%M", "f: %I in '%I:%M' does not make one hour. Expected %H, or %I with %p."),
        ("%j %H", "f: %j in '%j %H' does not make one date."),
        ("%d/%m", "%d %m in '%d/%m' does not make one date."),
        ("%U %a", "%U %a in '%U %a' does not make one date."),
        ("%Y %W", "%Y %W in '%Y %W' does not make one date."),
        ("%Y %V %u", "%Y %V %u in '%Y %V %u' does not make one date."),
        ("%Y %m %j", "%Y %m %j in '%Y %m %j' does not make one date."),
        ("%a %H:%M", "%a in '%a %H:%M' does not make one date."),
        ("%d %b %m %Y", "f: %b and %m in '%d %b %m %Y' say the same part of a time. Leave one of them out."),
        ("%T %H", "f: %H and %H in '%T %H' say the same part of a time."),
        ("%-d/%m/%Y", "f: '%-' in '%-d/%m/%Y' is not read. Expected the directives %Y %y %m"),
        ("%s", "f: '%s' in '%s' is not read."),
        ("%c", "f: '%c' in '%c' is not read."),
        ("%Y%", "f: '%' in '%Y%' is not read."),
        ("%Y %Z", "f: names of time zones, such as EST, have no one meaning"),
        ("%%%Z", "f: names of time zones, such as EST, have no one meaning"),
    ],
)
def test_a_format_that_would_be_read_wrong_is_refused_with_what_to_use(time_format, message):
    with pytest.raises(SpecError) as error:
        check_time_format("f", time_format)
    assert message in str(error.value)
