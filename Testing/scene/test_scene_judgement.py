"""The verdict in plain words: each reason names place and number, and what speaks for the result is said too."""

import numpy as np
import pytest
from deepregister import Geometry, Settings, Volume
from deepregister.confidence import Confidence
from deepregister.labelmaps import Structures
from deepregister.landmarks import LandmarkPairs
from DeepRegisterLib.scene.checking import Findings
from DeepRegisterLib.scene.current import CurrentResult
from DeepRegisterLib.scene.judgement import judge
from DeepRegisterLib.scene.landmarkpairs import PairErrors
from DeepRegisterLib.scene.places import placeInWords

# 200 mm around 0, in LPS: x to the left, y to the back, z up.
BOX = Geometry((100, 100, 100), (2.0, 2.0, 2.0), (-99.0, -99.0, -99.0))
GOOD = {"similarity_before": 0.3, "similarity_after": 0.8, "folded_fraction": 0.0}


def current(measures=GOOD, confidence=None, warnings=()):
    summary = {
        "measures": measures,
        "confidence": (confidence or Confidence()).to_dict(),
        "warnings": list(warnings),
        "inputs": {},
    }
    return CurrentResult(None, None, None, Settings(), summary)


def errors(points, after, before=20.0):
    """Pairs at these points with these errors."""
    points, after = np.array(points, float), np.array(after, float)
    names = tuple(f"P{n}" for n in range(1, len(points) + 1))
    return PairErrors(names, names, LandmarkPairs(points, points, names), np.full(len(points), before), after)


def findings(folded=0, foldedAt=(), structures=(), maps=(), p95=0.2):
    deformation = {"folded_voxels": folded, "voxels": 1000}
    return Findings(deformation, np.array(foldedAt).reshape(-1, 3), {"error_p95_mm": p95}, tuple(structures), maps, ())


def structure(name, before, after, change=1.0, folded=0):
    stages = {stage: {"dice": value, "surface_mean_mm": 2.5} for stage, value in (("before", before), ("after", after))}
    return {"name": name, "volume_change": change, "folded_voxels": folded, **stages}


SPREAD = [(x, y, z) for x in (-80, 80) for y in (-80, 80) for z in (-80, 0, 80)]


@pytest.mark.parametrize(
    ("points", "place"),
    [
        ([(70, -60, 50)], "in the left anterior superior part"),
        ([(-70, 0, 5), (-50, 10, -5)], "in the right part"),
        ([(0, 70, -90), (60, 60, -50)], "in the posterior inferior part"),
        ([(3, 5, -9)], "in the middle"),
        ([(70, 0, 0), (-70, 0, 0)], ""),
    ],
)
def test_places(points, place):
    assert placeInWords(np.array(points, float), BOX, lambda point: None) == place


def test_a_place_follows_the_body_however_the_volume_is_stored():
    turned = Geometry((100, 100, 100), (2, 2, 2), (99.0, -99.0, 99.0), ((0, 0, -1), (1, 0, 0), (0, -1, 0)))
    assert placeInWords(np.array([(70.0, -60, 50)]), turned, lambda point: None) == "in the left anterior superior part"


def test_a_place_is_a_structure_where_all_points_lie_in_one():
    assert placeInWords(np.zeros((2, 3)), BOX, lambda point: "Hippocampus") == "in Hippocampus"
    names = iter(["Hippocampus", "Amygdala"])
    assert placeInWords(np.zeros((2, 3)), BOX, lambda point: next(names)) == "in the middle"


def test_without_landmarks_it_is_the_engines_own_verdict():
    found = judge(current(), BOX)
    assert (found.level, found.headline) == ("good", "Good")
    assert found.inFavour[0] == "The similarity rose from 0.300 to 0.800."
    doubts = Confidence(0.2, ("The moving volume covers only 8% of what the fixed volume shows.",))
    assert judge(current(confidence=doubts), BOX).level == "low"


def test_three_of_twelve_landmarks_are_named_with_place_and_number():
    points = [*SPREAD[:9], (70, -60, 80), (80, -50, 10), (60, -70, -60)]
    found = judge(current(), BOX, errors(points, [1.0] * 9 + [6.0, 11.5, 7.25]))
    assert found.against == (
        "3 of 12 landmarks are off by more than 5 mm, all in the left anterior part: P11 (11.5 mm), P12 (7.2 mm), "
        "P10 (6.0 mm).",
    )
    assert (found.level, found.headline) == ("good", "Good, with reservations")


def test_landmarks_that_agree_speak_for_it():
    found = judge(current(), BOX, errors(SPREAD, np.linspace(1, 3, 12)))
    assert found.against == ()
    assert "All 12 landmarks lie within 5 mm of the partner (mean 2.0 mm, largest 3.0 mm)." in found.inFavour
    one = judge(current(), BOX, errors(SPREAD[:1], [6.0]), toleranceMm=8)
    assert "The landmark lies within 8 mm of the partner (mean 6.0 mm, largest 6.0 mm)." in one.inFavour
    alone = judge(current(), BOX, errors([(0, 0, 0)], [6.0]))
    assert alone.against == ("The landmark is off by more than 5 mm, in the middle: P1 (6.0 mm).",)


def test_many_landmarks_off_outweigh_the_images():
    found = judge(current(), BOX, errors(SPREAD, [9.0] * 7 + [1.0] * 5))
    assert found.level == "low"
    assert found.against[0].startswith("7 of 12 landmarks are off by more than 5 mm: P1 (9.0 mm)")
    assert "and 2 more" in found.against[0]
    worse = judge(current(), BOX, errors(SPREAD, [9.0] * 12, before=4.0))
    assert worse.level == "failed"
    assert "12 of 12 landmarks are farther off than before." in worse.against
    # Within the care of a click.
    assert judge(current(), BOX, errors(SPREAD, [4.5] * 12, before=4.0)).level == "good"


def test_pairs_that_pulled_do_not_count():
    pulled = [True] * 8 + [False] * 4
    found = judge(current(), BOX, errors(SPREAD, [0.1] * 8 + [2.0, 3.0, 8.0, 3.0]), pulled=pulled)
    assert any(
        text.startswith("8 of 12 landmark pairs drew this result")
        and text.endswith("The 4 held back have a mean error of 4.0 mm, the largest of 8.0 mm.")
        for text in found.inFavour
    )
    assert found.against == ("1 of 4 landmarks is off by more than 5 mm, in the left posterior part: P11 (8.0 mm).",)
    none = judge(current(), BOX, errors(SPREAD, [0.1] * 12), pulled=[True] * 12)
    assert "Hold pairs back" in none.against[0]


def test_folds_are_named_by_place_and_structure():
    label = Volume(np.ones((10, 10, 10), np.uint8), BOX.cropped((90, 0, 90), (100, 10, 100)), "map")
    maps = [Structures({1: "Temporal pole"}, label)]
    entry = structure("Temporal pole", 0.4, 0.8, folded=12)
    found = judge(current(), BOX, None, findings(40, [(95, -95, 95), (90, -90, 92)], [entry], maps))
    assert found.level == "folded"
    text = next(text for text in found.against if "folds" in text)
    assert text == (
        "The field folds in 40 of the 1000 places looked at, all in Temporal pole. Voxels in structures: "
        "Temporal pole (12)."
    )


def test_structures_are_judged_by_overlap_and_volume():
    entries = [
        structure("Liver", 0.6, 0.9),
        structure("Kidney", 0.7, 0.55),
        structure("Spleen", 0.1, 0.3),
        {"name": "Lesion", "volume_change": 2.6, "folded_voxels": 0},
    ]
    found = judge(current(), BOX, None, findings(structures=entries, p95=3.0))
    assert found.against == (
        "There and back misses the start by more than 3.0 mm at one place in twenty: do not use the inverse for "
        "measurements.",
        "The overlap of Kidney fell from 0.70 to 0.55 (Dice).",
        "Spleen overlaps by 0.30 only (Dice); its surfaces lie 2.5 mm apart on average.",
        "Lesion takes 2.60 times its volume in the moving volume: more than the same anatomy differs as a rule.",
    )
    assert "The mean overlap of 3 structures rose from 0.47 to 0.58 (Dice)." in found.inFavour
    assert (
        "The overlap of Liver rose from 0.60 to 0.90 (Dice)."
        in judge(current(), BOX, None, findings(structures=entries[:1])).inFavour
    )
