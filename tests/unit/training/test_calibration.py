import numpy as np
import pytest

from heimdall.training.calibration import find_stretch


@pytest.mark.parametrize("too_small", [0.5, 1.0, 2.0])
def test_the_stretch_undoes_ellipses_of_the_wrong_size(too_small):
    distances = np.random.default_rng(0).chisquare(2, 20_000) * too_small**2
    assert find_stretch(distances) == pytest.approx(too_small, rel=0.03)


def test_one_far_outlier_does_not_stretch_all_ellipses():
    distances = np.append(np.random.default_rng(0).chisquare(2, 500), 1e9)
    assert find_stretch(distances) == pytest.approx(1.0, rel=0.1)
