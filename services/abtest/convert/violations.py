"""Checks of a request's fields, each by its path."""

from typing import Final

from services.common.errors import FieldViolation, invalid_fields

DEFAULT_CONFIDENCE_LEVEL: Final = 0.95
LONGEST_NAME: Final = 256
LONGEST_ID: Final = 128
LONGEST_HYPOTHESIS: Final = 2000
LONGEST_COMMENT: Final = 500
_LOWEST_CONFIDENCE_LEVEL, _HIGHEST_CONFIDENCE_LEVEL = 0.80, 0.999
_LARGEST_EFFECT = 100.0


class Violations:
    """What is wrong with a request, gathered so that one answer names it all."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def check(self, holds: bool, field: str, description: str, reason: str = "INVALID_FIELD") -> None:
        """Note `field` as wrong unless `holds`."""
        if not holds:
            self._found.append(FieldViolation(field=field, description=description, reason=reason))

    def check_text(self, text: str, field: str, *, longest: int, required: bool = True) -> None:
        """Check a text that a person gave."""
        if required:
            self.check(bool(text.strip()), field, "must not be empty", "FIELD_REQUIRED")
        self.check(len(text) <= longest, field, f"must have at most {longest} characters", "TEXT_INVALID")
        self.check("\0" not in text, field, "must not hold a NUL character", "TEXT_INVALID")

    def check_id(self, text: str, field: str) -> None:
        """Check what names a user, a test or a campaign: blanks are a name as any other."""
        self.check(bool(text), field, "must not be empty", "FIELD_REQUIRED")
        self.check_text(text, field, longest=LONGEST_ID, required=False)

    def check_confidence_level(self, level: float) -> None:
        """Check a confidence level."""
        self.check(
            _LOWEST_CONFIDENCE_LEVEL <= level <= _HIGHEST_CONFIDENCE_LEVEL,
            "confidence_level",
            f"must lie between {_LOWEST_CONFIDENCE_LEVEL} and {_HIGHEST_CONFIDENCE_LEVEL}",
            "VALUE_OUT_OF_RANGE",
        )

    def check_effect(self, effect: float) -> None:
        """Check a relative effect."""
        self.check(
            -1.0 < effect <= _LARGEST_EFFECT and effect != 0.0,
            "minimum_detectable_effect",
            f"must lie between -1 (not itself) and {_LARGEST_EFFECT:g}, and not be 0",
            "VALUE_OUT_OF_RANGE",
        )

    def raise_any(self) -> None:
        """Raise InvalidArgumentError, naming every field that is wrong, if any is."""
        if self._found:
            raise invalid_fields(self._found)


def checked_test_id(test_id: str) -> str:
    """Return a test_id that may exist."""
    violations = Violations()
    violations.check_id(test_id, "test_id")
    violations.raise_any()
    return test_id
