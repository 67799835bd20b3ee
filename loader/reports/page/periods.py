"""Periods of days, and how a report cuts them into days, weeks or months."""

from dataclasses import dataclass
from datetime import date, timedelta

#: Months whose opens are shown, up to that of the last day.
MONTHS = 12
#: Longer periods are shown by weeks, and still longer ones by months of 30 days.
MAX_DAYS, MAX_WEEKS = 120, 120
#: Periods of fewer weeks have a course of days, and periods of more weeks one of months.
MIN_COURSE_WEEKS, MAX_COURSE_WEEKS = 4, 30


@dataclass(frozen=True, slots=True)
class Period:
    """Days from `first` to `last`, both included."""

    first: date
    last: date

    @property
    def days(self) -> int:
        """The number of days."""
        return (self.last - self.first).days + 1

    @property
    def before(self) -> "Period":
        """The period of as many days before this one."""
        return Period(self.first - timedelta(days=self.days), self.first - timedelta(days=1))

    def has(self, day: date) -> bool:
        """Return whether a day is in the period."""
        return self.first <= day <= self.last

    def has_day_of_month(self, number: int) -> bool:
        """Return whether such a day of a month is in the period, which has at most 30 days."""
        return any(self.has(end.replace(day=number)) for end in (self.first, self.last))

    def cut(self, days: int) -> "list[Period]":
        """Return parts of so many days, of which the last one ends with the period; a shorter rest is left out.

        >>> [str(part.first) for part in Period(date(2025, 1, 1), date(2025, 1, 15)).cut(7)]
        ['2025-01-02', '2025-01-09']
        """
        ends = [self.last - timedelta(days=days * number) for number in range(self.days // days)]
        return [Period(end - timedelta(days=days - 1), end) for end in reversed(ends)]


def months(period: Period) -> list[Period]:
    """Return the months that are shown, the last of which ends with the period.

    >>> [(str(month.first), str(month.last)) for month in months(Period(date(2025, 1, 9), date(2025, 2, 3)))[-2:]]
    [('2025-01-01', '2025-01-31'), ('2025-02-01', '2025-02-03')]
    """
    last = period.last.year * 12 + period.last.month - 1
    starts = [date(number // 12, number % 12 + 1, 1) for number in range(last - MONTHS + 1, last + 1)]
    ends = [start - timedelta(days=1) for start in starts[1:]]
    return [Period(start, end) for start, end in zip(starts, [*ends, period.last], strict=True)]


def bars(period: Period) -> list[Period]:
    """Return the parts of a period that have a bar each: days, or weeks or months if these are too many."""
    if period.days <= MAX_DAYS:
        return period.cut(1)
    return period.cut(7 if period.days <= 7 * MAX_WEEKS else 30)


def course(period: Period) -> list[Period]:
    """Return the parts of a period that have a point each in the small line of a figure."""
    weeks = period.days // 7
    return period.cut(1 if weeks < MIN_COURSE_WEEKS else 7 if weeks <= MAX_COURSE_WEEKS else 30)
