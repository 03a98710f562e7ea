"""The tables of docs/discussions/what-accuracy-is-possible.md, computed anew.

Run: ``python -m bench.physics_tables [--terrain globe_nw_italy.npz]``; without terrain the tables that need it are left out.
"""

from __future__ import annotations

import argparse
import itertools
import math
from pathlib import Path

import numpy as np
from scipy.spatial import Delaunay

from heimdall.rf.bounds import (
    StrengthErrors,
    arrival_sigmas,
    bound_sigmas,
    log_distance_gradient,
    prior_information,
    radial_quantiles,
    strength_information,
    timing_information,
)
from heimdall.rf.constants import DETECTION_SNR_DB
from heimdall.rf.geodesy import put_on_ellipsoid
from heimdall.rf.longley_rice import LongleyRicePathLoss
from heimdall.rf.network import load_default_network
from heimdall.rf.posterior import Heard, StrengthModel, strength_log_likelihood
from heimdall.rf.propagation import draw_shadowing_db, noise_floor_dbm
from heimdall.rf.spectra import SPECTRA, Spectrum
from heimdall.rf.terrain import Terrain

NETWORK = load_default_network()
RECEIVER_M = NETWORK.position_m
VOICE_1K = Spectrum(1000.0, 12_500.0)
TEN_WATTS_DBM = 40.0
HALF_REGION_M = np.array([3 * 78.6e3 / 2, 1.85 * 111.1e3 / 2])


def draw_in_hull(count: int) -> np.ndarray:
    flat = RECEIVER_M[:, :2]
    drawn = np.random.default_rng(0).uniform(flat.min(axis=0), flat.max(axis=0), (count * 8, 2))
    inside = drawn[Delaunay(flat).find_simplex(drawn) >= 0][:count]
    return put_on_ellipsoid(NETWORK.frame, inside[:, 0], inside[:, 1], 300.0)


def print_equal_snr() -> None:
    place = draw_in_hull(2000)
    heard = np.ones((len(place), 7), bool)
    print("\nTimes of arrival, equal SNR at all seven, hull; p68 in m at 0 / 10 / 20 dB")
    print("| signal | T | perfect clocks | 50 ns | 1 us |\n|---|---|---|---|---|")
    rows = [("NBFM voice, 1.0 kHz", VOICE_1K), ("flat 12.5 kHz", SPECTRA["flat-12k5"]), ("flat 200 kHz", SPECTRA["flat-200k"])]
    for (name, spectrum), duration_s in itertools.product(rows, (0.2, 1.0)):
        cells = []
        for clock_s in (0.0, 50e-9, 1e-6):
            values = []
            for snr_db in (0, 10, 20):
                sigma = np.hypot(arrival_sigmas(np.full(heard.shape, 10 ** (snr_db / 10)), heard, spectrum, duration_s), clock_s)
                values.append(np.median(radial_quantiles(bound_sigmas(timing_information(place, RECEIVER_M, sigma)))))
            cells.append(" / ".join(f"{value:.3g}" for value in values))
        print(f"| {name} | {duration_s:g} s | {' | '.join(cells)} |")


def print_needed_timing() -> None:
    place = draw_in_hull(2000)
    cells = []
    for count in (7, 5, 4, 3):
        values = []
        for chosen in itertools.combinations(range(7), count):
            sigma = np.full((len(place), 7), np.inf)
            sigma[:, list(chosen)] = 1e-9
            values.append(radial_quantiles(bound_sigmas(timing_information(place, RECEIVER_M, sigma))))
        cells.append(f"{count}: {30 / np.median(np.concatenate(values)):.0f} ns")
    print("\nTiming that +-30 m (p68) needs at every receiver, by number of receivers: " + ", ".join(cells))


def read_globe(path: Path) -> Terrain:
    return Terrain("NOAA GLOBE v1", 46 - 1 / 240, 6.5 + 1 / 240, (1 / 120, 1 / 120), np.load(path)["z"].astype(np.float32))


def draw_region(count: int, seed: int) -> np.ndarray:
    middle = RECEIVER_M[:, :2].mean(axis=0)
    east, north = (middle + np.random.default_rng(seed).uniform(-1, 1, (count, 2)) * HALF_REGION_M * 0.9).T
    return put_on_ellipsoid(NETWORK.frame, east, north, 300.0)


def print_realistic(terrain: Terrain, count: int = 1500) -> None:
    place = draw_region(count, 1)
    generator = np.random.default_rng(2)
    loss = LongleyRicePathLoss(terrain, NETWORK.frame, 145.0).path_loss_db(place, RECEIVER_M)
    power = TEN_WATTS_DBM - loss + draw_shadowing_db(generator, count, 7, sigma_db=6.0, correlation=0.0)
    prior = prior_information(np.full(2, 60e3))
    print("\n10 W at 145 MHz over terrain, T = 1 s, bound p68 median over places")
    print("| signal | clock | >= 3 / >= 4 receivers, NLOS 0 | NLOS 0.5 us |\n|---|---|---|---|")
    for name, waveform in (("NBFM voice", "nbfm-voice"), ("flat 200 kHz", "flat-200k")):
        spectrum = SPECTRA[waveform]
        # Equal power: the wide signal has its noise in its own channel. Heard is who hears it in 12.5 kHz.
        snr_db = power - noise_floor_dbm(145.0, bandwidth_hz=spectrum.noise_bandwidth_hz)
        heard = power - noise_floor_dbm(145.0) > DETECTION_SNR_DB
        for clock_s in (0.0, 50e-9, 1e-6, 2.1e-6):
            cells = []
            for excess_s in (0.0, 0.5e-6):
                sigma = np.sqrt(arrival_sigmas(10 ** (snr_db / 10), heard, spectrum, 1.0) ** 2 + clock_s**2 + excess_s**2)
                p68 = radial_quantiles(bound_sigmas(timing_information(place, RECEIVER_M, sigma) + prior))
                cells.append(" / ".join(f"{np.median(p68[heard.sum(axis=1) >= least]):.3g} m" for least in (3, 4)))
            print(f"| {name} | {clock_s * 1e9:g} ns | {' | '.join(cells)} |")
    print(f"heard by 3 or more: {np.mean(heard.sum(axis=1) >= 3):.2f}, by 4 or more: {np.mean(heard.sum(axis=1) >= 4):.2f}")


def print_strength(terrain: Terrain, count: int = 400, side: int = 64) -> None:
    place = draw_region(4 * count, 3)
    axes = [
        np.linspace(-0.9, 0.9, side) * half + middle for half, middle in zip(HALF_REGION_M, RECEIVER_M[:, :2].mean(axis=0), strict=True)
    ]
    east, north = (values.ravel() for values in np.meshgrid(*axes, indexing="ij"))
    grid = put_on_ellipsoid(NETWORK.frame, east, north, 300.0)
    model = LongleyRicePathLoss(terrain, NETWORK.frame, 145.0)
    true_loss, map_db = model.path_loss_db(place, RECEIVER_M), model.path_loss_db(grid, RECEIVER_M)
    distance_km = np.linalg.norm(grid[:, None] - RECEIVER_M, axis=2) / 1e3
    design = np.column_stack([np.ones(map_db.size), np.log10(distance_km.ravel())])
    law = np.linalg.lstsq(design, map_db.ravel(), rcond=None)[0]
    law_db = (design @ law).reshape(map_db.shape)
    law_sigma_db = float((map_db - law_db).std())
    print("\nStrength only, 145 MHz, 10 W +-3 dB, three or more heard: median / p68 / p90 in km")
    print("| model error | terrain map known | log-distance only |\n|---|---|---|")
    for sigma_db in (4.0, 6.0, 8.0, 12.0):
        generator = np.random.default_rng(int(sigma_db))
        power = TEN_WATTS_DBM + generator.normal(0, 3, (len(place), 1)) - true_loss + generator.normal(0, sigma_db, true_loss.shape)
        heard = power > noise_floor_dbm(145.0) + DETECTION_SNR_DB
        rows = np.flatnonzero(heard.sum(axis=1) >= 3)[:count]
        cells = []
        for loss, spread_db in ((map_db, sigma_db), (law_db, math.hypot(sigma_db, law_sigma_db))):
            strength = StrengthModel(
                lambda _, loss=loss: loss, StrengthErrors(spread_db, 0.0, 3.0), TEN_WATTS_DBM, noise_floor_dbm(145.0) + DETECTION_SNR_DB
            )
            errors = []
            for row in rows:
                score = strength_log_likelihood(Heard(heard[row], power[row], np.zeros(7), np.full(7, np.inf)), strength, grid)
                weight = np.exp(score - score.max())
                errors.append(np.hypot(*((weight @ grid[:, :2]) / weight.sum() - place[row, :2])))
            cells.append(" / ".join(f"{value / 1e3:.1f}" for value in np.quantile(errors, (0.5, 0.68, 0.9))))
        print(f"| {sigma_db:g} dB | {' | '.join(cells)} |")
    place = draw_in_hull(1000)
    everyone = np.ones((len(place), 7), bool)
    gradient = log_distance_gradient(place, RECEIVER_M, 3.5)
    values = [
        np.median(radial_quantiles(bound_sigmas(strength_information(gradient, everyone, StrengthErrors(sigma))))) / 1e3
        for sigma in (6, 8, 12)
    ]
    print("linearized bound in flat country, 6 / 8 / 12 dB: " + " / ".join(f"{value:.0f} km" for value in values))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--terrain", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "terrain" / "globe_nw_italy.npz")
    options = parser.parse_args()
    print_equal_snr()
    print_needed_timing()
    if options.terrain.is_file():
        terrain = read_globe(options.terrain)
        print_realistic(terrain)
        print_strength(terrain)
    else:
        print(f"\nno terrain at {options.terrain}: the tables over terrain are left out")


if __name__ == "__main__":
    main()
