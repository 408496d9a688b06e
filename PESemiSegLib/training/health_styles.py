"""What the health monitor says of StitchNet: are its latents in use, and are unlabelled crops learnt from?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

_EMPTY_NATS = 1e-4  # per pixel, of a family of latents: less says nothing of the image
_ALIKE = 0.2  # of unlabelled crops, as a share of what labelled ones have: below it they are all the same


def judge_styles(means: Mapping[str, float]) -> Iterator[tuple[bool, str]]:
    """Sentences on the means since the last report, each with whether it calls for action.

    The report's own finding is the last but one: on unlabelled images all styles were identical, and all
    segmentations the same. It is then said that nothing is learnt from them, in so many words.
    """
    if "styles_apart" not in means:
        return
    style, label = means["kl_z"], means["kl_k"]
    yield False, f"The latents hold {style:.3g} (style) and {label:.3g} (labels) nats per pixel."
    for name, nats in (("style", style), ("labels", label)):
        if nats < _EMPTY_NATS:
            advice = "warm the divergences up (kl_warmup) or leave some bits free (free_bits)"
            yield True, f"The latents of the {name} are empty: nothing of the image passes them; {advice}."
    apart, alike = means["styles_apart"], means.get("styles_apart_unlabelled")
    if alike is None:
        yield False, f"The styles of lung are {apart:.2f} of the window's half apart."
        return
    yield (
        False,
        f"The styles of lung are {apart:.2f} apart on labelled crops, {alike:.2f} on unlabelled ones.",
    )
    yield False, f"Classes of unlabelled pixels: {_shares(means)}."
    if alike < _ALIKE * apart:
        yield True, f"On unlabelled crops all styles of lung are alike: {_UNUSED}."
    variety, same = means.get("label_variety"), means.get("label_variety_unlabelled")
    if variety is not None and same is not None and same < _ALIKE * variety:
        yield True, f"Unlabelled crops have the same segmentation, whatever they show: {_UNUSED}."


_UNUSED = "nothing is learnt from them, which is what the report found; see the preset stitchnet_beta"


def _shares(means: Mapping[str, float]) -> str:
    """The shares of all classes, in the order of the kind."""
    found: list[str] = []
    while (share := means.get(f"class_{len(found)}_unlabelled")) is not None:
        found.append(f"{share:.1%}")
    return ", ".join(found)
