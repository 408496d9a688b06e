"""What may stand in Annotated[...]: validators, defaults, hints for widgets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


class Validator:
    """Checks a value; raises ValueError or TypeError."""

    def validate(self, value: Any) -> None:
        """Check one value."""
        raise NotImplementedError


@dataclass(frozen=True)
class NotNone(Validator):
    """Refuses None."""

    def validate(self, value: Any) -> None:
        """Raise ValueError for None."""
        if value is None:
            raise ValueError("Value must not be None")


@dataclass(frozen=True)
class IsInstance(Validator):
    """Refuses other types; a truth value is no number here."""

    classtype: Any

    def validate(self, value: Any) -> None:
        """Raise TypeError for another type."""
        is_truth = isinstance(value, bool) and self.classtype not in (bool, object)
        if is_truth or not isinstance(value, self.classtype):
            raise TypeError(
                f"Value must be of type '{self.classtype}', is type '{type(value)}' value '{value}'"
            )


@dataclass(frozen=True)
class WithinRange(Validator):
    """Between two limits, both included."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        """Raise ValueError outside."""
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass(frozen=True)
class Minimum(Validator):
    """Not below."""

    minimum: float

    def validate(self, value: Any) -> None:
        """Raise ValueError below."""
        if value < self.minimum:
            raise ValueError(f"Value must be greater than {self.minimum}, is {value}")


@dataclass(frozen=True)
class Maximum(Validator):
    """Not above."""

    maximum: float

    def validate(self, value: Any) -> None:
        """Raise ValueError above (in the application's words)."""
        if value > self.maximum:
            raise ValueError(f"Value must be greater than {self.maximum}, is {value}")


@dataclass(frozen=True)
class Choice(Validator):
    """One of a list."""

    choices: Sequence[Any]

    def validate(self, value: Any) -> None:
        """Raise ValueError for anything else."""
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


@dataclass(frozen=True)
class Exclude(Validator):
    """None of a list."""

    excludedValues: Sequence[Any]

    def validate(self, value: Any) -> None:
        """Raise ValueError for an excluded value."""
        if value in self.excludedValues:
            raise ValueError(
                f"Value is {value}, but must not be an excluded value: excluded values {self.excludedValues}"
            )


@dataclass(frozen=True)
class RangeBounds:
    """Limits of a FloatRange."""

    minimum: float
    maximum: float


@dataclass
class Default:
    """A default value, or a function that makes it."""

    value: Any = None
    generator: Callable[[], Any] | None = None

    def make(self) -> Any:
        """The default."""
        return self.generator() if self.generator else self.value


@dataclass(frozen=True)
class Decimals:
    """Decimals a widget shows."""

    value: int


@dataclass(frozen=True)
class SingleStep:
    """Step of a widget."""

    value: float


@dataclass(frozen=True)
class Label:
    """Text beside a widget."""

    label: str


def first(annotations: Sequence[Any], kind: type) -> Any:
    """The first annotation of a kind, or None."""
    return next((one for one in annotations if isinstance(one, kind)), None)
