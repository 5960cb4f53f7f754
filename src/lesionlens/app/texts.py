"""Every word, number and date that the app shows, in the language of the person.

Words stand in ``i18n/<language>/<namespace>.json``, flat: ``texts("scan.take_photo")`` is the
entry ``take_photo`` of ``scan.json``. A value is a sentence with named ``{placeholders}``, or,
where a count decides the form, ``{"one": ..., "other": ...}``. A file is read when its first word
is asked for, in one language only.

How numbers, dates and plurals are written follows Unicode's CLDR (https://cldr.unicode.org), in a
few lines per language: Babel has all of it, and 10 MB, which a phone need not carry. A test holds
these lines to Babel. One departure: where French has a narrow no-break space, the app has a
no-break space, as the app's font knows no narrow one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from importlib.resources import files as package_files

#: Languages by code, each named as its speakers name it. ``pt`` is Brazilian Portuguese.
LANGUAGES: dict[str, str] = {
    "en": "English",
    "id": "Bahasa Indonesia",
    "es": "Español",
    "pt": "Português (Brasil)",
    "fr": "Français",
}
#: What a device speaks that speaks none of them to us.
FALLBACK = "en"

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_OLD_CODES = {"in": "id"}  # Java, and so Android, still calls Indonesian by its code of 1988
_NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Manner:
    """How one language writes numbers, dates and lists, and which plural form a number takes."""

    decimal: str  # between whole and fraction
    group: str  # between thousands
    percent: str  # what follows the number, its space included
    months: str  # abbreviated, January first, a space between
    date: str  # of {day}, {month}, {year}
    time: str  # of {hour}, {hour12}, {minute}, {half}
    date_time: str  # of {date}, {time}
    either: tuple[str, str]  # between two alternatives; before the last of more
    plural: Callable[[int], str]  # whole number, 0 or more -> CLDR category


def _plural_of_english(count: int) -> str:
    return "one" if count == 1 else "other"


def _plural_of_indonesian(count: int) -> str:
    return "other"


def _plural_of_spanish(count: int) -> str:
    return "one" if count == 1 else _many_or_other(count)


def _plural_of_french_and_portuguese(count: int) -> str:
    return "one" if count in (0, 1) else _many_or_other(count)


def _many_or_other(count: int) -> str:
    """Whole millions are followed by "de": "un million de photos"."""
    return "many" if count and count % 1_000_000 == 0 else "other"


MANNERS: dict[str, Manner] = {
    "en": Manner(
        decimal=".",
        group=",",
        percent="%",
        months="Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        date="{month} {day}, {year}",
        time="{hour12}:{minute}" + _NO_BREAK + "{half}",
        date_time="{date}, {time}",
        either=(" or ", ", or "),
        plural=_plural_of_english,
    ),
    "id": Manner(
        decimal=",",
        group=".",
        percent="%",
        months="Jan Feb Mar Apr Mei Jun Jul Agu Sep Okt Nov Des",
        date="{day} {month} {year}",
        time="{hour}.{minute}",
        date_time="{date} {time}",
        either=(" atau ", ", atau "),
        plural=_plural_of_indonesian,
    ),
    "es": Manner(
        decimal=",",
        group=".",
        percent=_NO_BREAK + "%",
        months="ene feb mar abr may jun jul ago sept oct nov dic",
        date="{day} {month} {year}",
        time="{hour1}:{minute}",
        date_time="{date}, {time}",
        either=(" o ", " o "),
        plural=_plural_of_spanish,
    ),
    "pt": Manner(
        decimal=",",
        group=".",
        percent="%",
        months="jan. fev. mar. abr. mai. jun. jul. ago. set. out. nov. dez.",
        date="{day} de {month} de {year}",
        time="{hour}:{minute}",
        date_time="{date} {time}",
        either=(" ou ", " ou "),
        plural=_plural_of_french_and_portuguese,
    ),
    "fr": Manner(
        decimal=",",
        group=_NO_BREAK,
        percent=_NO_BREAK + "%",
        months="janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc.",
        date="{day} {month} {year}",
        time="{hour}:{minute}",
        date_time="{date}, {time}",
        either=(" ou ", " ou "),
        plural=_plural_of_french_and_portuguese,
    ),
}


def language_of(*locales: str | None) -> str:
    """Return the app's language for a device's locales, the most wanted first.

    Args:
        locales: as devices name them: ``pt_BR``, ``pt-PT``, ``in_ID``, ``es_419``,
            ``fr_FR.UTF-8``, ``C``; None and empty are passed over.

    Returns:
        A key of ``LANGUAGES``: of the first locale that has one, else ``FALLBACK``.
    """
    for locale in locales:
        code = re.split(r"[-_.@]", (locale or "").strip().lower())[0]
        code = _OLD_CODES.get(code, code)
        if code in LANGUAGES:
            return code
    return FALLBACK


class Texts:
    """Words, numbers and dates in one language."""

    def __init__(self, language: str) -> None:
        """Choose a language; no file is read yet.

        Args:
            language: a key of ``LANGUAGES``; for a device's locale see ``language_of``.

        Raises:
            KeyError: a language that the app does not speak.
        """
        if language not in LANGUAGES:
            raise KeyError(
                f"language {language!r} is not one of {', '.join(LANGUAGES)}; "
                "language_of() finds one for any locale"
            )
        self.language = language
        self._manner = MANNERS[language]
        self._words: dict[str, dict[str, str | dict[str, str]]] = {}

    def __call__(self, key: str, /, *, count: int | None = None, **values: str | int) -> str:
        """Return the words of ``key`` with its placeholders filled.

        Args:
            key: ``<namespace>.<entry>``.
            count: which plural form to take; is also the placeholder ``{count}``.
            values: what the placeholders stand for; whole numbers are written as the language
                writes them, others are turned into words before (``number``, ``percent``, ...).

        Raises:
            KeyError: no such key, or a placeholder without a value; names both.
            TypeError: a plural without a count, or a value that is neither words nor a whole
                number.
        """
        found = self._entry(key)
        if isinstance(found, dict):
            if count is None:
                raise TypeError(f"texts: {key!r} has plural forms: pass count=")
            # Only whole millions are "many", and no screen counts so far: "other" will do.
            found = found.get(self._manner.plural(count), found["other"])
        if count is not None:
            values["count"] = count

        def fill(match: re.Match[str]) -> str:
            name = match[1]
            if name not in values:
                raise KeyError(f"texts: {key!r} in {self.language} needs a value for {{{name}}}")
            value = values[name]
            if isinstance(value, str):
                return value
            if isinstance(value, int) and not isinstance(value, bool):
                return self.number(value)
            raise TypeError(
                f"texts: {key!r}: {{{name}}} is {value!r}; write it with number(), percent(), "
                "date() ... first, which know how many digits to show"
            )

        return _PLACEHOLDER.sub(fill, found)

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number with ``digits`` after the decimal sign, half to even, thousands apart.

        Raises:
            ValueError: not a finite number.
        """
        exact = Decimal(str(value))
        if not exact.is_finite():
            raise ValueError(f"texts: {value!r} is no number to show")
        rounded = exact.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
        plain = f"{rounded:,.{digits}f}"
        if not rounded:
            plain = plain.removeprefix("-")
        signs = {",": self._manner.group, ".": self._manner.decimal}
        return "".join(signs.get(sign, sign) for sign in plain)

    def percent(self, share: float, digits: int = 0) -> str:
        """Return a share of 0..1 as a percentage; 0 and 100 only for what is exactly that.

        What would be rounded to them reads ``<1%`` or ``>99%`` (``<0.1%`` with one digit).

        Raises:
            ValueError: not within 0..1.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"texts: a share lies within 0..1, got {share!r}")
        step = Decimal(1).scaleb(-digits)
        exact = Decimal(str(share)) * 100
        rounded = exact.quantize(step, ROUND_HALF_EVEN)
        sign = ""
        if rounded == 0 < exact:
            sign, rounded = "<", step
        elif rounded == 100 > exact:
            sign, rounded = ">", 100 - step
        return sign + self.number(float(rounded), digits) + self._manner.percent

    def date(self, moment: datetime) -> str:
        """Return the day, with the month as a word; a moment with a zone in the device's own."""
        local = moment.astimezone() if moment.tzinfo else moment
        month = self._manner.months.split()[local.month - 1]
        return self._manner.date.format(day=local.day, month=month, year=local.year)

    def time(self, moment: datetime) -> str:
        """Return hours and minutes; a moment with a zone in the device's own."""
        local = moment.astimezone() if moment.tzinfo else moment
        return self._manner.time.format(
            hour=f"{local.hour:02d}",
            hour1=local.hour,
            hour12=(local.hour - 1) % 12 + 1,
            minute=f"{local.minute:02d}",
            half="PM" if local.hour >= 12 else "AM",
        )

    def date_time(self, moment: datetime) -> str:
        """Return the day and the time of day."""
        return self._manner.date_time.format(date=self.date(moment), time=self.time(moment))

    def size(self, n_bytes: int) -> str:
        """Return a size in bytes, kB, MB or GB, each a thousand of the one before."""
        if n_bytes < 1000:
            return self("unit.byte", count=n_bytes)
        amount, unit = n_bytes / 1000, "kilobyte"
        for larger in ("megabyte", "gigabyte"):
            if amount >= 999.5:  # would be rounded to 1,000
                amount, unit = amount / 1000, larger
        return self(f"unit.{unit}", amount=self.number(amount, 1 if amount < 9.95 else 0))

    def duration(self, milliseconds: float) -> str:
        """Return a time span: ``412 ms``, ``1.2 s``, ``2 min 5 s``."""
        if milliseconds < 999.5:
            return self("unit.millisecond", amount=self.number(milliseconds))
        seconds = milliseconds / 1000
        if seconds < 59.95:
            return self("unit.second", amount=self.number(seconds, 1))
        minutes, seconds = divmod(round(seconds), 60)
        return self("unit.minute", minutes=self.number(minutes), seconds=self.number(seconds))

    def any_of(self, items: Sequence[str]) -> str:
        """Return alternatives in one phrase: ``A``, ``A or B``, ``A, B, or C``.

        Raises:
            ValueError: nothing to choose from.
        """
        if not items:
            raise ValueError("texts: any_of() needs at least one item")
        *before, last = items
        if not before:
            return last
        of_two, of_more = self._manner.either
        return ", ".join(before) + (of_two if len(before) == 1 else of_more) + last

    def _entry(self, key: str) -> str | dict[str, str]:
        namespace, _, name = key.partition(".")
        if namespace not in self._words:
            self._words[namespace] = _load(self.language, namespace)
        try:
            return self._words[namespace][name]
        except KeyError:
            raise KeyError(
                f"texts: no {key!r}: i18n/{self.language}/{namespace}.json has no entry {name!r}"
            ) from None


def _load(language: str, namespace: str) -> dict[str, str | dict[str, str]]:
    folder = package_files("lesionlens.app") / "i18n" / language
    file = folder / f"{namespace}.json"
    if not namespace.isidentifier() or not file.is_file():
        raise KeyError(
            f"texts: no namespace {namespace!r}: there is no i18n/{language}/{namespace}.json"
        )
    words: dict[str, str | dict[str, str]] = json.loads(file.read_text(encoding="utf-8"))
    return words
