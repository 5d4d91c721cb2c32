"""Similarity measures: values against plain definitions, gradients against finite differences, and flat regions."""

import numpy as np
import pytest
import torch
from deepregister import Rigid, spatial
from deepregister.similarity.contrast import linear_share
from deepregister.similarity.forces import CorrelationForce, FeatureForce
from deepregister.similarity.lncc import NOISE_FLOOR, LocalCorrelation
from deepregister.similarity.mind import PAIRS, mind_ssc
from deepregister.similarity.mutual_information import BinnedSamples
from phantoms import grid, seen_through


def random_image(seed, shape=(7, 8, 9), dtype=torch.float64):
    return torch.from_numpy(np.random.default_rng(seed).uniform(size=(1, 1, *shape))).to(dtype)


def phantom(contrast="one", spacing=4.0, transform=None):
    volume = seen_through(transform or Rigid.identity(), grid((spacing,) * 3), contrast)
    data = (volume.data - volume.data.min()) / (volume.data.max() - volume.data.min())
    return torch.from_numpy(data)[None, None]


def test_local_correlation_is_its_definition():
    """Over all windows, by loops."""
    fixed, moving = random_image(0, (5, 6, 4)), random_image(1, (5, 6, 4))
    f, m, floor = fixed[0, 0].numpy(), moving[0, 0].numpy(), NOISE_FLOOR**2
    total = count = 0.0
    for place in np.ndindex(f.shape):
        window = tuple(slice(max(0, p - 1), p + 2) for p in place)
        a, b = f[window] - f[window].mean(), m[window] - m[window].mean()
        total += a.size * (a * b).mean() ** 2 / (((a**2).mean() + floor) * ((b**2).mean() + floor))
        count += a.size
    assert LocalCorrelation(fixed, 1).value_and_gradients(moving)[0] == pytest.approx(total / count, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("valid", [False, True])
def test_gradient_of_local_correlation_agrees_with_finite_differences(weighted, valid):
    fixed, moving = random_image(0), random_image(1)
    measure = LocalCorrelation(fixed, 2, random_image(2) if weighted else None)
    known = random_image(3) if valid else None
    value, by_moving, by_fixed = measure.value_and_gradients(moving, known)
    weight = torch.ones_like(fixed)
    weight = weight * random_image(2) if weighted else weight
    weight = weight * known if valid else weight
    total = float(spatial.box_sum(weight, 2).sum())

    def value_of(fixed: torch.Tensor, moving: torch.Tensor) -> float:
        return LocalCorrelation(fixed, 2, random_image(2) if weighted else None).value(moving, known)

    for place in [(3, 4, 2), (0, 0, 0), (6, 7, 8), (5, 1, 4)]:
        change = torch.zeros_like(fixed)
        change[(0, 0, *place)] = 1e-5
        slope = (value_of(fixed, moving + change) - value_of(fixed, moving - change)) / 2e-5
        assert float(by_moving[(0, 0, *place)]) / total == pytest.approx(slope, rel=1e-4)
        slope = (value_of(fixed + change, moving) - value_of(fixed - change, moving)) / 2e-5
        assert float(by_fixed[(0, 0, *place)]) / total == pytest.approx(slope, rel=1e-4)
    assert 0 <= value <= 1


def test_local_correlation_ignores_linear_changes_and_inversion_of_contrast():
    image = phantom()
    measure = LocalCorrelation(image, 2)
    same = measure.value_and_gradients(image)[0]
    assert measure.value_and_gradients(1 - image)[0] == pytest.approx(same, abs=1e-3)
    assert same > measure.value_and_gradients(phantom(transform=shift(4)))[0]


def shift(millimetres):
    matrix = np.eye(4)
    matrix[0, 3] = millimetres
    return Rigid(matrix)


def test_flat_regions_and_bright_offsets_stay_finite_and_silent():
    noise = 1e-4 * torch.from_numpy(np.random.default_rng(0).normal(size=(1, 1, 12, 12, 12)).astype(np.float32))
    measure = LocalCorrelation(0.9 + noise, 2)
    value, *gradients = measure.value_and_gradients(0.9 + noise.flip(2))
    assert value < 1e-3
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_agreement_of_an_image_with_itself_is_whole_and_falls_with_misalignment():
    measure = LocalCorrelation(phantom(), 2)
    values = [measure.agreement(phantom(transform=shift(distance))) for distance in (0, 2, 4, 8)]
    assert values[0] > 0.97
    assert values == sorted(values, reverse=True)
    assert measure.agreement(1 - phantom()) == pytest.approx(values[0], abs=1e-3)
    assert measure.value(phantom()) == pytest.approx(measure.value_and_gradients(phantom())[0])


def test_voxels_of_no_weight_have_no_say():
    fixed, moving = phantom(), phantom(transform=shift(3))
    weight = torch.ones_like(fixed)
    weight[..., :10] = 0
    spoilt = moving.clone()
    spoilt[..., :10] = 0.7
    still = torch.zeros(1, 3, *fixed.shape[2:])
    results = [CorrelationForce(fixed, m, None, weight).value_and_force(still) for m in (moving, spoilt)]
    assert results[0][0] == pytest.approx(results[1][0], abs=1e-6)
    # At the mask's edge the image gradient itself still reaches across by one voxel.
    one, other = (force[..., 11:] for _, force in results)
    assert float((one - other).abs().max()) < 1e-3 * float(one.abs().max())


def test_mind_has_twelve_channels_and_the_same_value_for_both_contrasts():
    assert len(PAIRS) == 12
    one, two, moved = (mind_ssc(x) for x in (phantom("one"), phantom("two"), phantom("one", transform=shift(12))))
    assert one.shape[1] == 12 and float(one.min()) >= 0 and float(one.max()) <= 1
    assert float((one - two).abs().mean()) < 0.7 * float((one - moved).abs().mean())


def test_mind_ignores_inversion_and_scale():
    image = phantom()
    assert torch.allclose(mind_ssc(image), mind_ssc(3 - 2 * image), atol=1e-4)


@pytest.mark.parametrize("kind", ["correlation", "features"])
def test_forces_point_uphill_for_a_small_step_taken_first(kind):
    """The directional derivative of the value along the force, by finite differences."""
    fixed, moving = phantom(), phantom(transform=shift(3))
    if kind == "features":
        force = FeatureForce(mind_ssc(fixed), mind_ssc(moving))
    else:
        force = CorrelationForce(fixed, moving)
    field = spatial.smooth(torch.randn(1, 3, *fixed.shape[2:], generator=torch.Generator().manual_seed(0)), 2.0)
    value, direction = force.value_and_force(field)
    direction = spatial.smooth(direction, 1.7)
    direction *= 0.3 / float(direction.norm(dim=1).max())
    assert force.value(field) == pytest.approx(value, abs=1e-6)
    assert force.value(spatial.compose(direction, field)) > value
    assert force.value(spatial.compose(-direction, field)) < value


def test_mutual_information_knows_identity_from_shuffled():
    values = torch.rand(5000, generator=torch.Generator().manual_seed(0))
    moving = torch.stack([values, 1 - values, values[torch.randperm(5000)]])
    same, inverted, shuffled = BinnedSamples(values).compare(moving, None)[0].tolist()
    assert same == pytest.approx(inverted, abs=1e-4)
    assert same > 0.3 > 0.1 > shuffled >= 0


def test_mutual_information_counts_only_what_has_weight():
    values = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    moving = values.clone()
    moving[:2000] = torch.rand(2000)
    weight = torch.ones(1, 4000)
    weight[:, :2000] = 0
    half, by_value, _ = BinnedSamples(values).compare(moving[None], weight)
    alone, by_value_alone, _ = BinnedSamples(values[2000:]).compare(moving[None, 2000:], None)
    assert torch.allclose(by_value[:, 2000:], by_value_alone, atol=1e-6) and not by_value[:, :2000].any()
    assert float(half) == pytest.approx(float(alone), abs=1e-5)


def test_mutual_information_differentiates():
    random = torch.Generator().manual_seed(0)
    samples = BinnedSamples(torch.rand(60, dtype=torch.float64, generator=random), 6)
    moving = 0.02 + 0.96 * torch.rand(2, 60, dtype=torch.float64, generator=random)
    weight = torch.rand(2, 60, dtype=torch.float64, generator=random)
    _, by_value, by_weight = samples.compare(moving, weight)
    for number in range(0, 60, 7):
        step = torch.zeros_like(moving)
        step[:, number] = 1e-6
        slope = (samples.compare(moving + step, weight)[0] - samples.compare(moving - step, weight)[0]) / 2e-6
        assert torch.allclose(slope, by_value[:, number], atol=1e-6)
        slope = (samples.compare(moving, weight + step)[0] - samples.compare(moving, weight - step)[0]) / 2e-6
        assert torch.allclose(slope, by_weight[:, number], atol=1e-6)


def test_one_contrast_is_told_from_two_even_before_alignment():
    def share(contrast, scale=1.0):
        fixed, moving = phantom(), phantom(contrast, transform=shift(6))
        shown = (fixed > 0.05) & (moving > 0.05)
        return linear_share(fixed[shown], scale * moving[shown])

    assert share("one") > 0.9 > 0.6 > share("two")
    assert share("one", scale=-0.3) == pytest.approx(share("one"), abs=1e-4)
