"""The forms in which times are accepted. `loader.duckdb` reads them, for all inputs alike.

Accepted are, in upper or lower case, with `T` or a blank between date and time:

- RFC 3339 and ISO 8601, extended and basic: `2026-01-02T03:04:05Z`, `2026-01-02 03:04`, `20260102T030405,5+0100`
- with the offset as `Z`, ` UTC`, ` GMT`, `+01`, `+0100` or `+01:00`; digits beyond microseconds are cut off
- 24:00 as the end of a day, and the second 60 as the first of the next minute
- RFC 2822: `Fri, 02 Jan 2026 03:04:05 +0100`, with or without a weekday, which is not checked
- the `TIME_FIELDS` of an event also as a number or digits: seconds, milliseconds or microseconds since 1970. The number
  says which, since it has to be in the years 2001 to 2100.

Dates alone, and those whose order of day and month is a convention, are accepted only with a format.
"""

import re
from dataclasses import dataclass
from datetime import timedelta

#: The zone of times without one.
UTC = "UTC"
#: How far the clocks of sender and receiver may differ.
MAX_CLOCK_SKEW = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TimeReading:
    """How to read times: a format (strptime) to try before all others, and the zone (IANA) of those without one."""

    format: str | None = None
    zone: str = UTC
    #: How far the clocks of sender and receiver may differ; None for any difference.
    max_skew: timedelta | None = MAX_CLOCK_SKEW

    @property
    def has_offset(self) -> bool:
        """Whether times in the format have an offset or a zone."""
        return bool(self.format) and ("%z" in str(self.format) or "%Z" in str(self.format))


#: How times are read without options.
DEFAULT_TIMES = TimeReading()
#: Zones whose names have no place. Of others, such as IST, several places have one.
ZONES_WITHOUT_PLACE = ("UTC", "GMT", "WET", "CET", "MET", "EET")
#: Seconds since 1970 that a number may be, in seconds, milliseconds or microseconds: the years 2001 to 2100.
EPOCH_SECONDS = range(978_307_200, 4_133_980_800)

_ZONE = "(?: ?(?P<zone>z|utc|gmt|ut|[+-](?:[01][0-9]|2[0-3])(?::?[0-5][0-9])?))?"
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_EXTENDED_DATE = "(?P<y1>[0-9]{4})-(?P<m1>[0-9]{2})-(?P<d1>[0-9]{2})[t ]"
_BASIC_DATE = "(?P<y2>[0-9]{4})(?P<m2>[0-9]{2})(?P<d2>[0-9]{2})[t ]"
_MAIL_DATE = f"(?:(?:mon|tue|wed|thu|fri|sat|sun), *)?(?P<d3>[0-9]{{1,2}}) +(?P<month>{_MONTHS}) +(?P<y3>[0-9]{{4}}) +"
_EXTENDED_TIME = "(?P<h1>[0-9]{2}):(?P<i1>[0-9]{2})(?::(?P<s1>[0-9]{2})(?:[.,](?P<f1>[0-9]+))?)?"
_BASIC_TIME = "(?P<h2>[0-9]{2})(?P<i2>[0-9]{2})(?:(?P<s2>[0-9]{2})(?:[.,](?P<f2>[0-9]+))?)?"
#: All accepted forms but numbers, with a group for each part: of RFC 2822 also for a comment, which names the zone.
ANY_FORM = (
    f"(?i)^(?:{_EXTENDED_DATE}|{_BASIC_DATE}|{_MAIL_DATE})(?:{_EXTENDED_TIME}|{_BASIC_TIME}){_ZONE}"
    "(?P<comment> *[(][^()]*[)])?$"
)
#: Names of the groups, in order.
PARTS = tuple(re.compile(ANY_FORM).groupindex)
#: The abbreviations of months, three letters each, in order.
MONTHS = _MONTHS.replace("|", "")
