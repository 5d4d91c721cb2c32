"""The report page: whole, safe, free of anything to load, and true in every number."""

import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from deepregister import Affine, Composite, DisplacementField, Geometry, Rigid, Settings, Volume, quality
from deepregister.confidence import Confidence
from deepregister.errors import FileError, MissingPackageError
from deepregister.landmarks import LandmarkPairs
from deepregister.page import write_page
from deepregister.page.maps import BETWEEN, RATIOS
from deepregister.result import Registration
from pages import Page, numbers, pixels
from scipy.spatial.transform import Rotation

OBLIQUE = tuple(map(tuple, Rotation.from_euler("xyz", [12, -8, 25], degrees=True).as_matrix()))
GRIDS = {
    "straight": Geometry((40, 36, 32), (1.5, 1.5, 1.5), (-30.0, 20.0, -70.0)),
    "oblique and anisotropic": Geometry((44, 30, 14), (1.2, 1.6, 4.0), (-30.0, 20.0, -70.0), OBLIQUE),
}
GRID = GRIDS["straight"]
LINEAR = Rotation.from_euler("xyz", [4, -3, 6], degrees=True).as_matrix() @ np.diag([1.05, 0.96, 1.02])


def body(points, centre):
    """A soft object with a bright ball in it."""
    from_centre = np.linalg.norm((points - centre) / (1.0, 1.2, 0.9), axis=-1)
    ball = np.linalg.norm(points - centre - (-8, -6, 5), axis=-1)
    return 200 / (1 + np.exp(from_centre - 17)) + 150 / (1 + np.exp(2 * (ball - 5)))


def bump(grid, height):
    """A smooth field that is at rest at its border; it folds where `height` is large."""
    padded = grid.padded(2)
    points = padded.points() - padded.centre
    u = np.exp(-np.sum((points / 9) ** 2, axis=-1))[..., None] * np.array([1.0, -0.5, 0.7]) * height
    return DisplacementField(u.astype(np.float32), padded)


def some_result(grid=GRID, height=3.0, **changes):
    """A registration, its two volumes and its landmarks; the transform is a bump, then an affine."""
    affine = np.eye(4)
    affine[:3, :3] = LINEAR
    affine[:3, 3] = grid.centre + (4, -3, 2) - LINEAR @ grid.centre
    transform = changes.pop("transform", Composite((bump(grid, height), Affine(affine))))
    fixed = Volume(body(grid.points(), grid.centre).astype(np.float32), grid, "fixed.nii.gz")
    there = Geometry((50, 48, 46), (1.4, 1.4, 1.4), tuple(grid.centre + (4, -3, 2) - 33))
    moving = Volume(body(transform.inverse().apply_to_points(there.points()), grid.centre), there, "moving.mha")
    points = grid.centre + np.random.default_rng(3).uniform(-12, 12, (7, 3))
    landmarks = LandmarkPairs(points, transform.apply_to_points(points) + (0.3, 0, 0.4))
    measures = quality.measure(transform, transform.inverse(), grid, landmarks)
    values = {
        "transform": transform,
        "inverse": transform.inverse(),
        "registered": transform.resample(moving, grid),
        "settings": Settings(model="deformable", quality="fast", seed=17),
        "measures": {"similarity_before": 0.4321, "similarity_after": 0.8764, **measures},
        "seconds": {"align": 2.25, "deform": 61.04, "inverse": 0.01},
        "device": "CPU, 2 threads",
        "versions": {"deepregister": "0.1.0", "torch": "2.13.0"},
        "inputs": {"asked_model": "auto", "landmark_pairs": 7},
        "date": "2026-03-04T05:06:07+01:00",
        **changes,
    }
    return Registration(**values), fixed, moving, landmarks


def page_of(folder, registration, fixed, moving, landmarks=None):
    write_page(folder / "report.html", registration, fixed, moving, landmarks=landmarks)
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module", params=GRIDS)
def example(request, tmp_path_factory):
    """A result with all that a page can have, and its page."""
    registration, fixed, moving, landmarks = some_result(GRIDS[request.param])
    overlap = {"overlap_dice": {"Heart": {"before": 0.25, "after": 0.75}}}
    registration = replace(registration, measures={**registration.measures, **overlap})
    page = page_of(tmp_path_factory.mktemp("page"), registration, fixed, moving, landmarks)
    return registration, fixed, moving, landmarks, page


def test_nothing_is_loaded_from_anywhere(example):
    page = example[-1]
    assert len(page.addresses) > 20
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    policy = next(found["content"] for tag, found in page.attributes if found.get("http-equiv"))
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert not {"link", "iframe", "object", "embed", "form", "base"} & set(page.tags)


def test_pictures_have_words_and_the_page_a_language(example):
    page = example[-1]
    assert dict(page.attributes)["html"] == {"lang": "en"}
    assert page.tags.count("h1") == page.tags.count("title") == page.tags.count("main") == 1
    assert len({alt for alt, _ in page.pictures}) == len(page.pictures) == 3 * 7 + 3 + 1
    assert all(len(alt) > 20 for alt, _ in page.pictures)
    (slider,) = (found for tag, found in page.attributes if tag == "input")
    assert slider["type"] == "range" and slider["aria-label"]
    assert [found["type"] for tag, found in page.attributes if tag == "button"] == ["button"] * 3
    labels = {found["aria-labelledby"] for _, found in page.attributes if "aria-labelledby" in found}
    assert labels <= page.ids


def test_the_slices_are_those_of_the_volumes(example):
    registration, fixed, _, _, page = example
    for plane in ("Axial", "Coronal", "Sagittal"):
        still = page.picture(plane, "slice, fixed volume").astype(float)
        after = page.picture(plane, "moving volume, registered").astype(float)
        seen = after > 0
        assert seen.mean() > 0.3
        assert np.abs(still - after)[seen].mean() < 6
        check = page.picture(plane, "checkerboard of fixed and registered").astype(float)
        assert np.all((check == still) | (check == after))
        assert (check == still)[seen & (still != after)].mean() == pytest.approx(0.5, abs=0.2)
        before, difference = (
            page.picture(plane, f"{what} less fixed volume").astype(int) for what in ("moving", "registered")
        )
        # The more the colours differ, the worse the fit; equal greys are white.
        colourful = [np.ptp(colours[seen], axis=-1).mean() for colours in (before, difference)]
        assert colourful[1] < 0.5 * colourful[0]
    # The true proportions of the patient: every plane's picture has the sides of the content's box in mm.
    shapes = {plane: page.picture(plane, "slice, fixed volume").shape for plane in ("Axial", "Coronal", "Sagittal")}
    assert shapes["Axial"][1] == shapes["Coronal"][1]
    assert shapes["Axial"][0] == shapes["Sagittal"][1]
    assert shapes["Coronal"][0] == shapes["Sagittal"][0]
    assert registration.registered.geometry is fixed.geometry


def jacobian_by_itk(field):
    """Determinants of a field's derivative by ITK, less the border, where it has another way to take differences."""
    # ITK's filter knows no direction: it gets the field, which is the same, along the axes of the grid.
    image = sitk.GetImageFromArray(field.displacement @ np.asarray(field.geometry.direction), isVector=True)
    image.SetSpacing(field.geometry.spacing)
    return sitk.GetArrayFromImage(sitk.DisplacementFieldJacobianDeterminant(image))[1:-1, 1:-1, 1:-1]


def test_numbers_of_the_table_agree_with_independent_ones(example):
    registration, fixed, _, landmarks, page = example
    field = registration.transform.parts[0]
    assert numbers(page.rows["Similarity (0 to 1)"][0]) == [0.432]
    assert numbers(page.rows["Similarity (0 to 1)"][1]) == [0.876]
    # Landmarks, through ITK.
    through = registration.transform.to_sitk()
    apart = {
        0: np.linalg.norm(landmarks.fixed - landmarks.moving, axis=1),
        1: np.linalg.norm(
            [through.TransformPoint(point.tolist()) for point in landmarks.fixed] - landmarks.moving, axis=1
        ),
    }
    for title, summary in (("mean", np.mean), ("median", np.median), ("largest", np.max)):
        for column, errors in apart.items():
            shown = numbers(page.rows[f"Landmark error, {title}"][column])
            assert shown == [pytest.approx(summary(errors), abs=0.0051)]
    listed = re.findall(r"(\d+\.\d\d) → (\d+\.\d\d)", page.text)[:7]
    np.testing.assert_allclose(np.array(listed, float), np.stack([apart[0], apart[1]], axis=1), atol=0.0051)
    # Folding and volume change of the bending part.
    assert page.rows["Folded voxels"][:2] == ["–", "none"]
    inner = jacobian_by_itk(field)
    low, high = numbers(page.rows["Local volume change"][1])
    # The least also looks at one-sided differences, so it may be lower.
    assert low <= inner.min() + 0.005 and low > 0.5 * inner.min()
    assert high == pytest.approx(inner.max(), abs=0.006)
    # Displacement of all of it, at every voxel, by ITK.
    total = sitk.GetArrayFromImage(
        sitk.TransformToDisplacementField(
            through, sitk.sitkVectorFloat64, fixed.geometry.size, fixed.geometry.origin, fixed.geometry.spacing,
            [cosine for row in fixed.geometry.direction for cosine in row],
        )
    )  # fmt: skip
    mean, top = numbers(page.rows["Displacement"][1])
    length = np.linalg.norm(total, axis=-1)
    assert mean == pytest.approx(length.mean(), abs=0.03)
    assert top == pytest.approx(length.max(), abs=0.1)
    # There and back.
    points = fixed.geometry.points().reshape(-1, 3)
    forth = [through.TransformPoint(point.tolist()) for point in points[::5]]
    back = registration.inverse.to_sitk()
    missed = np.linalg.norm([back.TransformPoint(point) for point in forth] - points[::5], axis=-1)
    shown = page.rows["Error of the inverse"][1].split(" on average, ")
    for text, value in zip(shown, (missed.mean(), missed.max()), strict=True):
        assert "less than 0.01 mm" in text if value < 0.004 else numbers(text) == [pytest.approx(value, abs=0.05)]
    assert page.rows["Heart"] == ["0.250", "0.750"]


def test_the_motion_as_a_whole_agrees_with_how_it_was_made(example):
    registration, fixed, _, _, page = example
    angle = np.degrees(np.linalg.norm(Rotation.from_euler("xyz", [4, -3, 6], degrees=True).as_rotvec()))
    assert numbers(page.rows["Turned by"][0]) == [pytest.approx(angle, abs=0.051)]
    # The moving volume goes the other way than the points: to the right, back and down.
    assert page.rows["Shifted by"][0] == "5.4 mm: 4.0 mm right, 3.0 mm posterior, 2.0 mm down"
    stretches = np.sort(1 / np.array([1.05, 0.96, 1.02]))
    np.testing.assert_allclose(numbers(page.rows["Stretched by"][0]), stretches, atol=0.0006)
    assert numbers(page.rows["Volume"][0]) == [pytest.approx(1 / (1.05 * 0.96 * 1.02), abs=0.0006)]
    # What bends besides: the bump itself.
    u = registration.transform.parts[0].displacement_at(fixed.geometry.points())
    length = np.linalg.norm(u, axis=-1)
    mean, top = numbers(re.search(r"bending alone: (.*?) at most", page.text)[1])
    assert mean == pytest.approx(length.mean(), abs=0.0051)
    assert top == pytest.approx(length.max(), abs=0.0051)


def test_what_was_registered_and_how(example):
    _, fixed, moving, _, page = example
    assert page.rows["Name"] == ["fixed.nii.gz", "moving.mha"]
    for title, values in (
        ("Size", "size"),
        ("Spacing", "spacing"),
        ("Extent", "extent_mm"),
        ("Centre (LPS)", "centre"),
    ):
        for text, volume in zip(page.rows[title], (fixed, moving), strict=True):
            np.testing.assert_allclose(numbers(text), getattr(volume.geometry, values), atol=0.051)
    axes = np.array(numbers(page.rows["Axes (LPS)"][0])).reshape(3, 3)
    np.testing.assert_allclose(axes.T, fixed.geometry.direction, atol=0.0006)
    for name, value in (("Quality", "fast"), ("Seed", "17"), ("Threads", "automatic"), ("Model asked for", "auto")):
        assert page.rows[name] == [value]
    assert page.rows["torch"] == ["2.13.0"]
    assert [page.rows[stage][0] for stage in ("Align", "Deform")] == ["2.2 s", "61.0 s"]
    assert "Inverse" not in page.rows
    assert page.rows["In all"] == ["1 min 03 s"]
    assert "Registered 2026-03-04, 05:06 · Deformable, fast · DeepRegister 0.1.0" in page.text
    assert "Time on CPU, 2 threads" in page.text


def test_a_linear_result_has_no_maps(tmp_path):
    matrix = np.eye(4)
    matrix[:3, 3] = (1.0, 2.0, 3.0)
    registration, fixed, moving, _ = some_result(transform=Rigid(matrix))
    page = page_of(tmp_path, registration, fixed, moving)
    assert not re.search("Jacobian|Warped grid|How the volume was bent", page.text)
    assert not {"Local volume change", "Folded voxels"} & set(page.rows)
    assert page.rows["Shifted by"][0].startswith("3.7 mm:")
    assert page.rows["Turned by"] == ["0.0°"]
    assert len(page.pictures) == 3 * 7 + 1


def test_the_expected_error_is_drawn_where_there_is_something_to_be_off(tmp_path):
    registration, fixed, moving, _ = some_result()
    coarse = GRID.with_spacing((3.0, 3.0, 3.0)).padded(2)
    # Far too large around the body, where the nearest place stands for what is not known.
    away = np.linalg.norm(coarse.points() - GRID.centre, axis=-1)
    error = Volume(np.where(away < 29, 1.9, 50.0).astype(np.float32), coarse)
    measures = {
        "expected_error_median_mm": 1.7,
        "expected_error_90_mm": 3.1,
        "expected_error_bound_factor": 1.66,
        "expected_error_worst_mm": 4.4,
        "expected_error_worst_lps_mm": [-1.0, 2.5, -30.0],
        "expected_error_worst_place": "in the left part",
    }
    registration = replace(registration, expected_error=error, measures={**registration.measures, **measures})
    page = page_of(tmp_path, registration, fixed, moving)
    assert "nine points in ten are expected to lie within 3.1 mm" in page.text
    assert "lies around -1.0, 2.5, -30.0 mm (LPS). Nine in ten lie within 1.7 times as much" in page.text
    ((alt, address),) = ((alt, address) for alt, address in page.pictures if alt.startswith("Expected error"))
    # The scale ends where what is shown does: of the 50 mm there is nothing.
    assert "from 0 to 2 mm" in alt
    grey = np.all(pixels(address)[..., :3] == (222, 224, 228), axis=-1)
    assert 0.1 < grey.mean() < 0.6
    # Of a result that failed it says nothing.
    (tmp_path / "report.html").unlink()
    page = page_of(tmp_path, replace(registration, confidence=Confidence(0.02, ("A reason.",))), fixed, moving)
    assert not re.search("(?i)expected error|may be off|nine points in ten", page.text.split("All measures")[0])


def test_a_folded_result_shows_where(tmp_path):
    registration, fixed, moving, _ = some_result(height=14.0)
    folded = registration.measures["folded_fraction"]
    field = registration.transform.parts[0]
    # ITK sees the folds too, by central differences alone.
    assert 0 < (jacobian_by_itk(field) <= 0).sum() <= folded * field.displacement[..., 0].size
    page = page_of(tmp_path, registration, fixed, moving)
    assert "Folded in places" in page.text
    assert f"The field folds in {100 * folded:.2f} % of its voxels." in page.text
    # The named place is one that folds by the derivative taken from ITK's transform, half a voxel to each side.
    place = np.array(numbers(re.search(r"deepest fold, at (.*?) mm", page.text)[1]))
    through = field.to_sitk()
    sides = [[through.TransformPoint((place + side * step).tolist()) for side in (-0.75, 0.75)] for step in np.eye(3)]
    assert np.linalg.det([np.subtract(ahead, behind) / 1.5 for behind, ahead in sides]) < 0
    assert "what speaks for it" not in page.text.lower() or "No voxel folds" not in page.text
    picture = page.picture("Jacobian", "folded voxels are marked")
    assert (np.abs(picture.astype(int) - (224, 0, 184)).max(axis=-1) < 8).sum() > 50


def test_sliding_regions_are_named_and_their_borders_left_out(tmp_path):
    registration, fixed, moving, _ = some_result()
    files = {name: {"path": f"/scans/{name}.nrrd", "frame": None} for name in ("fixed", "regions")}
    inputs = {"regions": {"name": "lungs and chest wall"}, "files": files}
    page = page_of(tmp_path, replace(registration, inputs=inputs), fixed, moving)
    assert page.rows["Sliding regions"] == ["lungs and chest wall"]
    assert page.rows["Sliding regions of the fixed volume"] == ["/scans/regions.nrrd"]
    assert page.text.count("No voxel folds, the borders of the sliding regions left out.") == 2


@pytest.mark.parametrize(
    ("changes", "level", "headline"),
    [
        ({}, "good", "Good"),
        ({"confidence": Confidence(0.8, ("Little overlap.",))}, "good", "Good, with reservations"),
        ({"confidence": Confidence(0.3, ("Little overlap.",))}, "low", "Low confidence"),
        ({"confidence": Confidence(0.02, ("Little overlap.",))}, "failed", "Failed"),
    ],
)
def test_the_verdict_stands_first(tmp_path, changes, level, headline):
    registration, fixed, moving, _ = some_result(transform=Rigid.identity(), **changes)
    page = page_of(tmp_path, registration, fixed, moving)
    (found,) = (found["class"] for tag, found in page.attributes if found.get("aria-labelledby") == "verdict")
    assert found == f"verdict {level}"
    text = page.text[page.text.index("Registration report") :]
    assert text.index(headline) < text.index("Slices") < text.index("Numbers")
    assert ("Little overlap." in text) == bool(changes)
    assert f"Confidence {registration.confidence.score:.2f} of 1" in text


HOSTILE = """<script>alert(1)</script>"><img src=x onerror='alert("2")'>&amp;.nii.gz"""


def test_names_and_messages_cannot_become_markup(tmp_path):
    registration, fixed, moving, _ = some_result(transform=Rigid.identity())
    registration = replace(
        registration,
        warnings=(HOSTILE,),
        confidence=Confidence(0.2, (HOSTILE,)),
        device=HOSTILE,
        versions={HOSTILE: HOSTILE},
        seconds={HOSTILE: 3.0},
        measures={**registration.measures, HOSTILE: HOSTILE, "overlap_dice": {HOSTILE: {HOSTILE: 0.5}}},
        inputs={"files": {"fixed": {"path": HOSTILE, "frame": None}}, "initial": HOSTILE, "asked_model": HOSTILE},
    )
    page = page_of(tmp_path, registration, replace(fixed, name=HOSTILE), replace(moving, name=HOSTILE))
    assert page.tags.count("script") == 1
    assert all(address.startswith("data:image/png") for address in page.addresses)
    assert not any(name.startswith("on") for _, found in page.attributes for name in found)
    assert page.text.count(HOSTILE) >= 10
    assert page.rows["Name"] == [HOSTILE, HOSTILE]


def test_a_volume_out_of_sight_is_shown_centred_and_the_page_says_so(tmp_path):
    far = Rigid(np.array([[1, 0, 0, 900.0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    registration, fixed, moving, _ = some_result(transform=Rigid.identity())
    origin = tuple(np.add(moving.geometry.origin, (900, 0, 0)))
    shifted = replace(moving, geometry=replace(moving.geometry, origin=origin))
    page = page_of(tmp_path, replace(registration, transform=far), fixed, shifted)
    assert "Moving, centred" in page.text and "shown centred" in page.text
    assert page.picture("Axial", "slice, moving volume, centred").max() > 200


def test_results_of_every_kind_give_a_page(tmp_path):
    # No registered volume, no date, measures of an earlier version, a dense start, labels as voxels, two thick slices.
    grid = Geometry((24, 22, 2), (2.0, 2.0, 6.0), (0, 0, 0), OBLIQUE)
    linear = Affine(np.array([[1.02, 0, 0, 1.0], [0, 1, 0, -1], [0, 0, 0.99, 0], [0, 0, 0, 1]]))
    fields = [bump(grid, height) for height in (1.0, 2.0)]
    transform = Composite((fields[0], linear, fields[1]))
    data = (body(grid.points(), grid.centre) > 100).astype(bool)
    volume = Volume(data, grid, "mask.nrrd")
    registration = Registration(transform, transform.inverse(), None, Settings(), {}, {}, "CPU", date="")
    page = page_of(tmp_path, registration, volume, volume)
    assert "How the volume was bent" in page.text
    assert "Registered 2" not in page.text
    assert page.rows["In all"] == ["0 s"]


def test_a_page_of_a_whole_brain_is_small(tmp_path):
    grid = Geometry((160, 200, 165), (1.0, 1.0, 1.0), (-80, -100, -80))
    # Noise, the content that pictures can hold least of.
    data = np.random.default_rng(0).integers(0, 255, grid.shape).astype(np.uint8)
    volume = Volume(data, grid, "brain.nii.gz")
    field = bump(grid.with_spacing((4.0,) * 3), 5.0)
    measures = {"folded_fraction": 0.0}
    registration = Registration(field, field, volume, Settings(), measures, {}, "CPU")
    write_page(tmp_path / "report.html", registration, volume, volume)
    assert (tmp_path / "report.html").stat().st_size < 8e6


def test_a_missing_package_is_named_with_its_command(tmp_path, monkeypatch):
    registration, fixed, moving, _ = some_result(transform=Rigid.identity())
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingPackageError, match=r"needs matplotlib.*\n.*pip install .*matplotlib>=3"):
        write_page(tmp_path / "report.html", registration, fixed, moving)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    registration, fixed, moving, _ = some_result(transform=Rigid.identity())
    with pytest.raises(FileError, match="does not exist"):
        write_page(tmp_path / "none" / "report.html", registration, fixed, moving)


def test_the_marks_of_the_scale_of_the_volume_change_lie_inside_it():
    assert set(BETWEEN) == set(RATIOS)
    assert all(1 < between < ratio for ratio, between in BETWEEN.items())


def test_the_scale_of_the_differences_runs_from_blue_to_red(tmp_path):
    registration, fixed, moving, _ = some_result(transform=Rigid.identity())
    page = page_of(tmp_path, registration, fixed, moving)
    (legend,) = (pixels(src).astype(int) for alt, src in page.pictures if alt.startswith("Scale of the differences"))
    assert legend[0, 0, 2] > 2 * legend[0, 0, 0] and legend[0, -1, 0] > 2 * legend[0, -1, 2]
    assert legend[0, legend.shape[1] // 2].min() > 240
