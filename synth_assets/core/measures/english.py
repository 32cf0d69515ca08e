"""English words that stand for numbers, units and months.

In: the spellings, and the one that each of them is taken for. Out: finding them in a text (`numbers`).
"""

from __future__ import annotations

_SPELLINGS = {
    "%": "percent|per cent|pct",
    "km": "kilometres|kilometers|kilometre|kilometer",
    "m": "metres|meters|metre|meter",
    "cm": "centimetres|centimeters|centimetre|centimeter",
    "mm": "millimetres|millimeters|millimetre|millimeter",
    "mi": "miles|mile",
    "ft": "feet|foot",
    "in": "inches|inch",
    "kg": "kilograms|kilogram|kilos|kilo",
    "g": "grams|gram",
    "t": "tonnes|tonne|tons|ton",
    "lb": "pounds|pound|lbs",
    "l": "litres|liters|litre|liter",
    "°C": "° C|degrees Celsius|degrees C",
    "°F": "° F|degrees Fahrenheit|degrees F",
    "K": "kelvin|kelvins",
    "W": "watts|watt",
    "kW": "kilowatts|kilowatt",
    "MW": "megawatts|megawatt",
    "V": "volts|volt",
    "Hz": "hertz",
    "ha": "hectares|hectare",
    "acre": "acres",
    "s": "seconds|second",
    "min": "minutes|minute",
    "h": "hours|hour",
    "day": "days",
    "week": "weeks",
    "month": "months",
    "year": "years",
    "thousand": "thousands",
    "million": "millions",
    "billion": "billions",
    "trillion": "trillions",
    "$": "dollars|dollar|USD",
    "€": "euros|euro|EUR",
    "£": "GBP",
}
_AMBIGUOUS = frozenset({"in", "s"})
"""Spellings that are something else far more often: "in 1907 in Paris", "the 1990s"."""

UNIT_OF_SPELLING = {
    spelling: unit
    for unit, others in _SPELLINGS.items()
    for spelling in (unit, *others.split("|"))
    if spelling not in _AMBIGUOUS
}
"""The unit that a word behind a number is."""

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH_PATTERN = (
    "Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:tember|t)?|Oct(?:ober)?"
    "|Nov(?:ember)?|Dec(?:ember)?"
)
_LONG_MONTHS = "january|february|march|april|june|july|august|sept|september|october|november|december"
MONTH_WORDS = frozenset((*MONTHS, *_LONG_MONTHS.split("|")))
"""Every spelling of a month, casefolded."""

_IN_ORDER = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen|twenty"
)
SPELLED_NUMBERS = {
    **{word: str(number) for number, word in enumerate(_IN_ORDER.split("|"))},
    **{"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90"},
    **{"first": "1", "second": "2", "third": "3", "fourth": "4", "fifth": "5", "sixth": "6", "seventh": "7"},
    **{"eighth": "8", "ninth": "9", "tenth": "10", "once": "1", "twice": "2", "dozen": "12", "hundred": "100"},
    "thousand": "1000",
}
"""Numbers that prose likes to write as words."""
