"""Write numbers, money and dates as a locale has them, with a no-break space at units."""

import re
from datetime import date, datetime, time
from decimal import Decimal

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import (
    format_compact_currency,
    format_compact_decimal,
    format_currency,
    format_decimal,
    format_percent,
)

from loader.errors import UsageError

#: From these on, a sum of money or a number is written with a unit, such as M, where space is short.
SHORT_MONEY_FROM, SHORT_NUMBER_FROM = 1_000_000, 10_000_000
#: A no-break space.
SPACE = "\u00a0"
MINUS, PLUS = "\u2212", "+"

Number = int | float | Decimal


class Formats:
    """The formats of a locale, such as en_GB, and a currency; without one, sums of money are plain numbers."""

    def __init__(self, locale: str, currency: str | None) -> None:
        try:
            self._locale = Locale.parse(locale.replace("-", "_"))
        except (UnknownLocaleError, ValueError, TypeError):
            raise UsageError(f"there is no locale {locale!r}; write en_GB, fr_BE or de, for example") from None
        self._currency = currency

    def number(self, value: Number, digits: int = 0) -> str:
        """Return a number with at most so many decimal digits.

        >>> Formats("en_GB", None).number(16013), Formats("de", None).number(2.5, 1)
        ('16,013', '2,5')
        """
        pattern = self._locale.decimal_formats[None].pattern.replace(".###", f".{'#' * digits}" if digits else "")
        return format_decimal(value, format=pattern, locale=self._locale)

    def share(self, value: Number, digits: int = 0) -> str:
        """Return a share in percent.

        >>> Formats("en_GB", None).share(0.2025, 1).replace(SPACE, "_"), Formats("tr", None).share(0.5)
        ('20.2_%', '%50')
        """
        pattern = self._locale.percent_formats[None].pattern.replace("0", f"0.{'0' * digits}" if digits else "0")
        return format_percent(value, format=_spaced(pattern), locale=self._locale)

    def money(self, value: Number, digits: int = 0) -> str:
        """Return a sum of money.

        >>> Formats("en_GB", "EUR").money(4613.2).replace(SPACE, "_"), Formats("en_GB", None).money(4613.2)
        ('€_4,613', '4,613')
        """
        if self._currency is None:
            return self.number(value, digits)
        pattern = self._locale.currency_formats["standard"].pattern.replace(".00", f".{'0' * digits}" if digits else "")
        return format_currency(
            value, self._currency, format=_spaced(pattern), locale=self._locale, currency_digits=False
        )

    def short_money(self, value: Number) -> str:
        """Return a sum of money, with a unit if it is large.

        >>> Formats("en_GB", "EUR").short_money(1_234_567)
        '€1.2m'
        """
        if abs(float(value)) < SHORT_MONEY_FROM or self._currency is None:
            return self.money(value)
        return format_compact_currency(value, self._currency, locale=self._locale, fraction_digits=1)

    def short_number(self, value: int) -> str:
        """Return a number, with a unit if it is large.

        >>> Formats("en_GB", None).short_number(9_999_999), Formats("en_GB", None).short_number(12_345_678)
        ('9,999,999', '12.3m')
        """
        if value < SHORT_NUMBER_FROM:
            return self.number(value)
        return format_compact_decimal(value, locale=self._locale, fraction_digits=1)

    def change(self, value: Number, text: str) -> str:
        """Return the text of an amount without a sign with the sign of its value."""
        return f"{PLUS if value > 0 else MINUS if value < 0 else ''}{text}"

    def day(self, day: date) -> str:
        """Return a date in full.

        >>> Formats("en_GB", None).day(date(2025, 10, 1)), Formats("fr", None).day(date(2025, 10, 1))
        ('1 October 2025', '1 octobre 2025')
        """
        return format_date(day, "long", self._locale)

    def short_day(self, day: date) -> str:
        """Return day and month.

        >>> Formats("en_GB", None).short_day(date(2025, 10, 1))
        '1 Oct'
        """
        return format_skeleton("MMMd", day, locale=self._locale)

    def moment(self, moment: datetime) -> str:
        """Return a date with its time.

        >>> Formats("en_GB", None).moment(datetime(2026, 11, 25, 21, 54))
        '25 November 2026, 21:54'
        """
        return f"{self.day(moment.date())}, {format_time(moment.timetz(), 'short', locale=self._locale)}"

    def hour(self, hour: int) -> str:
        """Return a full hour.

        >>> Formats("en_GB", None).hour(6), Formats("en_US", None).hour(18).split()
        ('6:00', ['6:00', 'PM'])
        """
        return format_time(time(hour), "short", locale=self._locale).removeprefix("0")

    def month(self, day: date) -> str:
        """Return the short name of a month."""
        return format_date(day, "LLL", self._locale)

    def weekday(self, weekday: int) -> str:
        """Return the short name of a weekday, from 1 for Monday.

        >>> Formats("en_GB", None).weekday(1), Formats("nl", None).weekday(7)
        ('Mon', 'zo')
        """
        return format_date(date(2001, 1, weekday), "ccc", self._locale)  # a year that began on a Monday


def _spaced(pattern: str) -> str:
    """Return a pattern of numbers with a no-break space between number and unit, whatever the locale has there."""
    return re.sub(r"(?<=[#0])\s*(?=[%¤])|(?<=¤)\s*(?=[#0])", SPACE, pattern)
