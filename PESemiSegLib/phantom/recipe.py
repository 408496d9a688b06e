"""The recipe of one made-up patient: a few words of JSON that reproduce the scan bit for bit."""

import json
from dataclasses import asdict, dataclass, fields

import numpy as np

from PESemiSegLib.errors import ConfigError, InputError
from PESemiSegLib.phantom.opacities import PATTERNS
from PESemiSegLib.phantom.parameters import EMBOLUS_KINDS

GENERATOR_VERSION = 2
"""Raised whenever the same recipe would give another patient."""

_STREAMS = ("anatomy", "scene", "scanner", "image", "annotator", "breathing", "opacities")


@dataclass(frozen=True)
class Recipe:
    """One made-up patient.

    site: whose patient, scanner and annotator; seed and patient: which one; preset: the size of the images;
    pe: whether there are emboli (None: by chance); kind: one of them, at least, is of that kind; contrast
    False: the non-contrast twin. opacities: "none", "ground_glass" or "mixed" lungs, with their exact map;
    without it there is no map, and the patient is the one of before there were opacities. scanner_site and
    label_site replace the hospital's scanner or annotator alone: same anatomy, other image or label style.

    Raises ConfigError for values that no generator knows.
    """

    site: str
    seed: int
    patient: int
    preset: str = "standard"
    pe: bool | None = None
    kind: str | None = None
    contrast: bool = True
    opacities: str | None = None
    scanner_site: str | None = None
    label_site: str | None = None
    version: int = GENERATOR_VERSION

    def __post_init__(self) -> None:
        if self.version != GENERATOR_VERSION:
            raise ConfigError(
                f"the recipe is of generator version {self.version!r}, this is {GENERATOR_VERSION}: "
                "install the version of PESemiSeg that wrote it"
            )
        for letter in (self.site, self.scanner_site or "A", self.label_site or "A"):
            if letter not in ("A", "B", "C"):
                raise ConfigError(f"there is no site {letter!r}: choose A, B or C")
        if self.preset not in ("ci", "medium", "standard"):
            raise ConfigError(f"there is no preset {self.preset!r}: choose ci, medium or standard")
        if self.kind is not None and (self.kind not in EMBOLUS_KINDS or self.pe is not True):
            raise ConfigError(
                f"kind is one of {', '.join(EMBOLUS_KINDS)}, in a patient with emboli (pe true)"
            )
        if self.opacities is not None and self.opacities not in PATTERNS:
            raise ConfigError(f"opacities is one of {', '.join(PATTERNS)}, not {self.opacities!r}")
        for name in ("seed", "patient"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise ConfigError(f"{name} must be a whole number >= 0, not {value!r}")

    @property
    def name(self) -> str:
        """A name for folders: site, seed, patient and, for a twin, that it is the non-contrast one."""
        return f"{self.site}-s{self.seed}-p{self.patient:04d}" + ("" if self.contrast else "-noncontrast")

    def rng(self, stream: str) -> np.random.Generator:
        """The random numbers of one stage; stages do not disturb each other.

        The anatomy's streams know nothing of scanner_site, label_site, contrast and preset; a twin is scanned
        with the same settings, but its noise is another.
        """
        key = [self.version, self.seed, self.patient, ord(self.site), _STREAMS.index(stream)]
        if stream in ("scanner", "image"):
            key += [ord(self.scanner_site or self.site)]
            key += [int(self.contrast)] if stream == "image" else []
        elif stream == "annotator":
            key += [ord(self.label_site or self.site)]
        return np.random.Generator(np.random.PCG64(np.random.SeedSequence(key)))

    def to_json(self) -> str:
        values = asdict(self)
        if self.opacities is None:
            del values["opacities"]  # as before there were any
        return json.dumps(values, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Recipe":
        """Read what ``to_json`` wrote.

        Raises InputError when it is no recipe, ConfigError for an unknown version, site or preset.
        """
        try:
            values = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"not a recipe: {error.msg} in line {error.lineno}") from None
        if not isinstance(values, dict) or "version" not in values:
            raise InputError("not a recipe: it must be a JSON object with a version")
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if values["version"] == GENERATOR_VERSION and unknown:
            raise InputError(f"not a recipe of version {GENERATOR_VERSION}: unknown {', '.join(unknown)}")
        known = {f.name: values[f.name] for f in fields(cls) if f.name in values}
        try:
            return cls(**known)
        except TypeError:
            raise InputError("not a recipe: site, seed or patient is missing") from None
