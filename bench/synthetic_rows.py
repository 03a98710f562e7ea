"""Networks on simulated signals, beside the bound and the best classical answer: three seeds of training, one fold of places.

Run: ``.venv/bin/python -m bench.synthetic_rows [--rows timed voice terrain] [--seeds 0 1 2] [--work FOLDER] [--json out.json]``
Each row simulates its set (kept in FOLDER for the next run), holds out fold 0 of five over cells of 5 km and trains with the
product's own loop. The joint posterior knows the model that made the data, power law or terrain included, and so does the terrain's
maximum likelihood; networks know the training examples only. Prints the table of docs/results.md. ``terrain`` takes half an hour.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch

from bench.physics_tables import read_globe
from heimdall.datasets import simulation
from heimdall.datasets.build import build_synthetic
from heimdall.datasets.limits import check_against_limit
from heimdall.datasets.splits import make_split
from heimdall.datasets.storage import DatasetArrays, open_dataset
from heimdall.domain.datasets import Dataset, DatasetKind, DatasetStatus, SyntheticDatasetConfig
from heimdall.domain.jobs import TrainingJobConfig
from heimdall.domain.training import TrainingRequest
from heimdall.rf.bounds import StrengthErrors
from heimdall.rf.constants import CHANNEL_BANDWIDTH_HZ, DETECTION_SNR_DB, SPEED_OF_LIGHT_M_S
from heimdall.rf.geodesy import put_on_ellipsoid
from heimdall.rf.longley_rice import LongleyRicePathLoss
from heimdall.rf.network import load_default_network
from heimdall.rf.posterior import Heard, StrengthModel, locate_on_grid, strength_log_likelihood
from heimdall.rf.propagation import LogDistancePathLoss, noise_floor_dbm
from heimdall.rf.spectra import SPECTRA
from heimdall.rf.synthetic import TRANSMITTER_ALTITUDE_M, SyntheticBlock, SyntheticGenerator
from heimdall.training.loop import train

NETWORK = load_default_network()
SHARE, FOLD = 0.2, 0
MAX_JUDGED = 500
"""Held-out examples that a posterior on a grid is computed for, evenly spread: it takes 0.1 s each."""
SIDE = 64
METRES_PER_US = SPEED_OF_LIGHT_M_S * 1e-6

Rows = np.ndarray[Any, np.dtype[np.int64]]
Places = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Row:
    """A line of the table: what is simulated, which network is trained how."""

    data: dict[str, Any]
    training: dict[str, Any]


ROWS = {
    "timed": Row(
        {"num_examples": 6144, "waveform": "flat-12k5", "min_receivers": 4, "clock_sigma_ns": 50.0},
        {"model_architecture": "arrival-residual-s", "epochs": 8},
    ),
    "voice": Row(
        {"num_examples": 6144, "waveform": "nbfm-voice", "min_receivers": 3, "clock_sigma_ns": 50.0, "nlos_sigma_ns": 500.0},
        {"model_architecture": "arrival-residual-s", "epochs": 8},
    ),
    "terrain": Row(
        {"num_examples": 32_768, "propagation": "terrain", "min_receivers": 3, "clock_sigma_ns": 1e6},
        {"model_architecture": "deepsets-mixture-s", "epochs": 30, "batch_size": 128, "learning_rate": 2e-3},
    ),
}


class Silent:
    """A sink that nobody reads."""

    def report_device(self, device: object, *, resume_is_exact: bool | None) -> None: ...
    def note_phase(self, phase: object) -> None: ...
    def report_tick(self, look: object) -> None: ...
    def report_epoch(self, report: object) -> None: ...
    def requested_action(self) -> None: ...
    def is_checkpoint_wanted(self) -> bool:
        """Want each that the configuration has."""
        return True

    def save_checkpoint(self, write: Callable[[], object]) -> None: ...


def make_generator(config: SyntheticDatasetConfig, terrain: Path) -> SyntheticGenerator:
    """Return the simulator of a config, over the terrain in an ``.npz`` where it asks for one."""
    if config.propagation == "log-distance":
        return SyntheticGenerator(config, NETWORK)
    return SyntheticGenerator(config, NETWORK, LongleyRicePathLoss(read_globe(terrain), NETWORK.frame, config.frequency_mhz))


def open_or_simulate(folder: Path, config: SyntheticDatasetConfig, generator: SyntheticGenerator) -> DatasetArrays:
    """Return the set in a folder, simulated first where it is not there."""
    if not (folder / "manifest.json").is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        # The product reads a folder of tiles; here the crop of the tests stands for it.
        simulation.make_simulator = lambda config, terrain_folder: generator
        build_synthetic(config, folder, lambda share: None)
    return open_dataset(folder)


@dataclass(frozen=True)
class Judged:
    """What one training says of its held-out rows."""

    row: Rows
    """[N]"""
    place_m: Places
    """[N, 2] east and north."""
    covariance_m2: Places
    """[N, 2, 2]"""
    ellipse_radii: Places
    """[3] of the 50, 68 and 95 % ellipses, in standard deviations."""

    def coverage(self, truth_m: Places) -> list[float]:
        """Return which share of the truths [N, 2] lies within the ellipses of 50, 68 and 95 %."""
        error_m = truth_m - self.place_m
        distance = np.einsum("ni,nij,nj->n", error_m, np.linalg.inv(self.covariance_m2), error_m)
        return [float((distance <= radius**2).mean()) for radius in self.ellipse_radii]


def train_once(arrays: DatasetArrays, row: Row, seed: int) -> Judged:
    """Train once and return what the model that was kept says of the held-out rows."""
    dataset = Dataset(
        id="data",
        name="data",
        status=DatasetStatus.READY,
        kind=DatasetKind.SYNTHETIC,
        created_at=datetime.now(UTC),
        num_examples=len(arrays),
        config_hash="",
        content_hash=arrays.content_hash,
        accuracy_radius_m=arrays.manifest.accuracy_radius_m,
    )
    config = TrainingJobConfig(
        job_name="row",
        dataset_id="data",
        seed=seed,
        device="cpu",
        validation_split=SHARE,
        validation_fold=FOLD,
        early_stopping_patience=0,
        **row.training,
    )
    with tempfile.TemporaryDirectory() as name:
        request = TrainingRequest(
            job_id="row", attempt=1, config=config, dataset=dataset, dataset_dir=arrays.directory, work_dir=Path(name)
        )
        draft = train(request, Silent()).model  # type: ignore[arg-type]
        assert draft is not None
        kept = safetensors.numpy.load_file(draft.evaluation_path)
    return Judged(kept["row"], *(kept[name].astype(np.float64) for name in ("prediction_enu_m", "covariance_m2", "ellipse_radii")))


def read_examples(arrays: DatasetArrays, rows: Rows, generator: SyntheticGenerator, *, is_timed: bool) -> list[Heard]:
    """Return what the posterior is told: the stored features, and the errors of arrival that the simulator drew from."""
    features = {name: np.asarray(arrays.features[rows, :, arrays.feature_index(name)], np.float64) for name in arrays.feature_names}
    heard = features["heard"] > 0
    block = SyntheticBlock(np.zeros((len(rows), 3)), heard, features["rssi_dbm"], features["snr_db"], heard * 0.0, np.zeros((len(rows), 2)))
    parts = generator.arrival_sigmas_us(block).values()
    sigma_m = METRES_PER_US * np.sqrt(sum(np.square(np.broadcast_to(part, heard.shape)) for part in parts))
    sigma_m = sigma_m if is_timed else np.full(heard.shape, np.inf)
    arrival_m = METRES_PER_US * features["toa_offset_us"]
    return [Heard(heard[row], features["rssi_dbm"][row], arrival_m[row], sigma_m[row]) for row in range(len(rows))]


def tell_strength(config: SyntheticDatasetConfig, loss: Callable[[Places], Places], *, sigma_db: float) -> StrengthModel:
    """Return how strengths of this set come about, power and threshold included."""
    bandwidth_hz = SPECTRA[config.waveform].noise_bandwidth_hz if config.waveform else CHANNEL_BANDWIDTH_HZ
    power_sigma_db = (config.tx_power_max_dbm - config.tx_power_min_dbm) / math.sqrt(12)
    return StrengthModel(
        loss=loss,
        errors=StrengthErrors(sigma_db, config.shadowing_correlation, power_sigma_db),
        power_dbm=(config.tx_power_max_dbm + config.tx_power_min_dbm) / 2,
        threshold_dbm=noise_floor_dbm(config.frequency_mhz, bandwidth_hz=bandwidth_hz) + DETECTION_SNR_DB,
    )


def locate_jointly(examples: list[Heard], up_m: Places, config: SyntheticDatasetConfig, generator: SyntheticGenerator) -> Places:
    """Return the means of the joint posteriors of times, strengths and silence."""
    model = LogDistancePathLoss(config.frequency_mhz, config.path_loss_exponent)
    strength = tell_strength(config, lambda grid: model.path_loss_db(grid, NETWORK.position_m), sigma_db=config.shadowing_sigma_db)
    found = [
        locate_on_grid(example, NETWORK.position_m, generator.region_m, float(up), strength)
        for example, up in zip(examples, up_m, strict=True)
    ]
    return np.array([one.mean_m for one in found])


def locate_by_strength(examples: list[Heard], config: SyntheticDatasetConfig, generator: SyntheticGenerator) -> dict[str, Places]:
    """Return mean and maximum of strength posteriors over the terrain's map, and over the log-distance law that fits it best."""
    low, high = generator.region_m
    axes = [low[k] + (np.arange(SIDE) + 0.5) * (high[k] - low[k]) / SIDE for k in (0, 1)]
    east, north = (values.ravel() for values in np.meshgrid(*axes, indexing="ij"))
    grid = put_on_ellipsoid(NETWORK.frame, east, north, TRANSMITTER_ALTITUDE_M)
    map_db = generator.path_loss.path_loss_db(grid, NETWORK.position_m)
    distance_km = np.linalg.norm(grid[:, None] - NETWORK.position_m, axis=2) / 1e3
    design = np.column_stack([np.ones(map_db.size), np.log10(distance_km.ravel())])
    law_db = (design @ np.linalg.lstsq(design, map_db.ravel(), rcond=None)[0]).reshape(map_db.shape)
    law_sigma_db = math.hypot(config.shadowing_sigma_db, float((map_db - law_db).std()))
    places: dict[str, Places] = {}
    for name, loss_db, sigma_db in (("terrain", map_db, config.shadowing_sigma_db), ("log-distance", law_db, law_sigma_db)):
        strength = tell_strength(config, lambda _, loss_db=loss_db: loss_db, sigma_db=sigma_db)  # type: ignore[misc]
        score = np.array([strength_log_likelihood(example, strength, grid) for example in examples])
        weight = np.exp(score - score.max(axis=1, keepdims=True))
        places[f"{name} ML"] = grid[score.argmax(axis=1), :2]
        places[f"{name} posterior mean"] = weight @ grid[:, :2] / weight.sum(axis=1, keepdims=True)
    return places


def summarize(error_m: Places) -> dict[str, float]:
    """Return the percentiles that are published."""
    median, p68, p95 = np.quantile(error_m, (0.5, 0.68, 0.95)).tolist()
    return {"median_m": median, "p68_m": p68, "p95_m": p95}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return one row of the table."""
    row = ROWS[name]
    config = SyntheticDatasetConfig(name=name, seed=options.data_seed, **row.data)
    generator = make_generator(config, options.terrain)
    arrays = open_or_simulate(options.work / f"{name}-{options.data_seed}", config, generator)
    _, held_out = make_split(arrays, SHARE, FOLD)
    judged = held_out[np.unique(np.linspace(0, len(held_out) - 1, MAX_JUDGED).astype(np.int64))]
    is_timed = name != "terrain"
    examples = read_examples(arrays, judged, generator, is_timed=is_timed)
    if is_timed:
        classical = {"joint posterior": locate_jointly(examples, np.asarray(arrays.target_up[judged]), config, generator)}
    else:
        classical = locate_by_strength(examples, config, generator)
    truth = np.asarray(arrays.target, np.float64)
    bound = np.asarray(arrays.bound_sigma_m, np.float64)
    result: dict[str, Any] = {"row": name, "architecture": row.training["model_architecture"], "held_out": len(held_out)}
    result["classical"] = {key: summarize(np.hypot(*(place - truth[judged]).T)) for key, place in classical.items()}
    result["seeds"] = []
    print(json.dumps(result), flush=True)
    for seed in options.seeds:
        found = train_once(arrays, row, seed)
        error_m = np.hypot(*(found.place_m - truth[found.row]).T)
        check = check_against_limit(error_m, bound[found.row])
        on_judged = error_m[np.isin(found.row, judged)]
        result["seeds"].append({"seed": seed, **summarize(error_m), "judged": summarize(on_judged), "limit": asdict(check)})
        print(json.dumps(result["seeds"][-1]), flush=True)
    result["median_of_seeds"] = {key: statistics.median(line[key] for line in result["seeds"]) for key in ("median_m", "p68_m", "p95_m")}
    result["ratios"] = compare(result)
    print(json.dumps(result["ratios"]), flush=True)
    return result


def compare(result: dict[str, Any]) -> dict[str, list[float]]:
    """Return lowest, middle and highest ratio over the seeds: to the bound's p68, and to each classical answer on the same examples."""
    key = "median_m" if result["row"] == "terrain" else "p68_m"
    ratios = {"bound p68": [line["limit"]["ratio"] for line in result["seeds"]]}
    for name, figures in result["classical"].items():
        ratios[f"{name} {key[:-2]}"] = [line["judged"][key] / figures[key] for line in result["seeds"]]
    return {name: [min(values), statistics.median(values), max(values)] for name, values in ratios.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--data-seed", type=int, default=0)
    parser.add_argument("--terrain", type=Path, default=Path("../shared/data/terrain/globe_nw_italy.npz"))
    parser.add_argument("--work", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        options.work = options.work or Path(folder)
        results = [measure(name, options) for name in options.rows]
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
