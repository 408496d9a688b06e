"""The card says what the model is, and that it must not be used on patients."""

import pytest

from PESemiSegLib.models.card import GENERAL_WARNING, PHANTOM_WARNING, render_card, warning
from PESemiSegLib.models.info import INTENDED_USE


def test_phantom_models_say_so(info_maker):
    card = render_card(info_maker())
    assert PHANTOM_WARNING in card
    assert "never seen a real scan" in card
    assert warning(info_maker()) == PHANTOM_WARNING


def test_other_models_do_not_claim_to_be_phantom(info_maker):
    card = render_card(info_maker(data_origin="patients"))
    assert GENERAL_WARNING in card
    assert "made-up" not in card


def test_settings_training_and_results_are_listed(info_maker):
    card = render_card(info_maker(threshold=0.35, hu_window=(-100, 300), training={"seeds": [1, 2]}))
    for text in ("0.35", "HU -100 to 300", "seeds: [1, 2]", "width 2", "dice: 0.5"):
        assert text in card


@pytest.mark.parametrize("origin", ["phantom", "patients"])
def test_the_card_warns_once(info_maker, origin):
    card = render_card(info_maker(data_origin=origin))
    assert card.count("Research use only") == card.count("ot a medical device") == 1
    card = render_card(info_maker(intended_use=f"{INTENDED_USE} For teaching."))
    assert card.count("Research use only") == 1
    assert "\n\nFor teaching.\n\n" in card
    assert "\n\nFor method studies.\n\n" in render_card(info_maker(intended_use="For method studies."))


def test_the_card_says_how_marks_are_cut(info_maker):
    card = render_card(info_maker(threshold=0.98, min_lesion_mm3=80))
    assert "| Operating point | probability 0.98, marks of 80 mm3 or more |" in card
    card = render_card(info_maker(threshold=0.5, core_threshold=0.98, min_lesion_mm3=80))
    assert "probability 0.5 at the edge, marks that hold 80 mm3 or more at probability 0.98" in card


def test_a_hostile_text_cannot_break_the_table(info_maker):
    card = render_card(info_maker(licence="a | b\n| c |"))
    assert "| Licence | a \\| b \\| c \\| |" in card


def test_empty_sections_are_left_out(info_maker):
    card = render_card(info_maker(training={}, metrics={}))
    assert "## Training" not in card
    assert "## Results" not in card
