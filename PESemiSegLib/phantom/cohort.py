"""A cohort of made-up patients: which of them have no emboli, and the recipe of each."""

import numpy as np

from PESemiSegLib.errors import ConfigError
from PESemiSegLib.phantom.parameters import EMBOLUS_KINDS
from PESemiSegLib.phantom.recipe import Recipe

_FREE_SHARE = 0.35
_PATTERNS_OF_FIVE = ("mixed", "ground_glass", "mixed", "ground_glass", "none")


def free_count(patients: int) -> int:
    """How many of ``patients`` have no emboli: the number nearest to 35 %.

    That is 30 to 40 % wherever a whole number of patients is (4 and 7 allow none; there it is 1 and 2).
    """
    return int(patients * _FREE_SHARE + 0.5) if patients >= 3 else patients // 2


def recipes(
    site: str, patients: int, seed: int, preset: str = "standard", *, opacities: bool | str = False
) -> list[Recipe]:
    """The recipes of a cohort: 30-40 % without emboli, in an order that tells nothing.

    With five patients with emboli or more, every kind of embolus occurs. The same seed gives the same cohort.
    opacities: of five patients one has healthy lungs, two have ground glass, two consolidations too, in an
    order that has nothing to do with emboli. A pattern is that of all: "none" are lungs that are known to be
    clean, without the airless lung (atelectasis, pneumonia, infarct) that other patients may have.

    Raises ConfigError for an unknown site or preset, or a number of patients below 1.
    """
    if patients < 1:
        raise ConfigError(f"a cohort needs at least 1 patient, not {patients}")
    Recipe(site, seed, 0, preset)  # refuses what it does not know
    order = np.random.default_rng([seed, ord(site[0]), 0x5EED]).permutation(patients)
    free, positive = np.split(order, [free_count(patients)])
    kinds = (
        dict(zip(positive.tolist(), EMBOLUS_KINDS, strict=False))
        if len(positive) >= len(EMBOLUS_KINDS)
        else {}
    )
    mixed = _opacity_patterns(site, patients, seed)
    return [
        Recipe(
            site,
            seed,
            patient,
            preset,
            pe=patient not in free,
            kind=kinds.get(patient),
            opacities=opacities if isinstance(opacities, str) else mixed[patient] if opacities else None,
        )
        for patient in range(patients)
    ]


def _opacity_patterns(site: str, patients: int, seed: int) -> list[str]:
    """A pattern a patient: every five hold two "mixed", two "ground_glass" and one "none", shuffled."""
    rng = np.random.default_rng([seed, ord(site[0]), 0x0FAC])
    fives = [rng.permutation(_PATTERNS_OF_FIVE) for _ in range(0, patients, len(_PATTERNS_OF_FIVE))]
    return [str(pattern) for pattern in np.concatenate(fives)[:patients]]
