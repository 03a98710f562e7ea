"""Data sets: what is stored of one, what it may be split by, and how one is asked for."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field, SerializerFunctionWrapHandler, StringConstraints, ValidationInfo, field_validator, model_serializer

from heimdall.domain.base import Entity, Instant
from heimdall.domain.jobs import Name

WaveformId = Literal["nbfm-voice", "nbfm-voice-25k", "dmr", "aprs", "fsk9600", "flat-12k5", "flat-200k"]
"""What a transmitter may send; ``rf.spectra`` holds what each tells of time."""

VOICE_WAVEFORMS: Final[tuple[WaveformId, ...]] = ("nbfm-voice", "nbfm-voice-25k")
"""Those that carry speech: a user's own, where it is given."""

CAPTURE_RATES_HZ: Final[dict[WaveformId, float]] = {
    "nbfm-voice": 16_000.0,
    "nbfm-voice-25k": 32_000.0,
    "dmr": 16_000.0,
    "aprs": 16_000.0,
    "fsk9600": 16_000.0,
    "flat-12k5": 16_000.0,
    "flat-200k": 256_000.0,
}
"""Hz, sample rates of captures: 28 % more than the channel, whose edges show the noise."""

NUM_SITES: Final = 7
"""Receivers of the built-in network; a test holds it against ``rf/receivers.json``."""

MIN_CAPTURE_SAMPLES: Final = 512
MAX_CAPTURE_SAMPLES: Final = 65_536
MAX_CAPTURE_EXAMPLES: Final = 1_000_000
MAX_CAPTURE_CLOCK_NS: Final = 100_000.0
MAX_CRYSTAL_HZ: Final = 500.0
"""Hz, one standard deviation of a receiver's carrier: more would push a signal out of its channel."""
MAX_IQ_BYTES: Final = 50_000_000_000
"""Of the samples of one data set; while it is built they lie on the disk twice."""


class DatasetStatus(StrEnum):
    """Where a data set is on its way to being usable."""

    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


class DatasetKind(StrEnum):
    """Where the examples come from."""

    SYNTHETIC = "synthetic"
    POWDER = "powder"
    LOCARDS = "locards"
    RSSI_CSV = "rssi-csv"
    RSSI_PARQUET = "rssi-parquet"
    RECORDINGS = "recordings"


class CoordinateFrame(Entity):
    """Local east-north-up frame in metres, tangent to WGS84 at its origin."""

    kind: Literal["enu"] = "enu"
    latitude: float = Field(ge=-90, le=90, description="deg")
    longitude: float = Field(ge=-180, le=180, description="deg")
    altitude_m: float = Field(default=0.0, description="m above the WGS84 ellipsoid")


class Receiver(Entity):
    """A receiver site. A moving receiver has no fixed coordinates: they are part of each example."""

    id: str
    name: str
    latitude: float | None = None
    longitude: float | None = None
    altitude_m: float | None = None
    is_moving: bool = False


class Feature(Entity):
    """One number a receiver token carries, in physical units before normalization."""

    name: str
    unit: str
    meaning: str


class Split(Entity):
    """How examples may be held out. Groups are never divided between training and validation."""

    column: Literal["cell", "day", "session", "row"]
    num_groups: int
    seed: int = Field(default=0, description="of the shuffle of groups into folds; owned by the data set, so jobs compare")
    cell_m: float | None = Field(default=None, description="m, edge of a location cell")
    is_leaky: bool = Field(default=False, description="true where only single rows could be split: neighbours may leak")


class RejectedRow(Entity):
    """One row that was not taken, and why."""

    row: int = Field(description="1-based data row of the source file")
    reason: str


class ImportReport(Entity):
    """What an importer read, took and left out. Nothing is dropped silently."""

    num_rows: int
    num_accepted: int
    num_rejected: int
    reasons: dict[str, int] = Field(default_factory=dict, description="reason to count, complete")
    rejected: tuple[RejectedRow, ...] = Field(default=(), description="the first 100 rejected rows")
    notes: tuple[str, ...] = ()


class PhysicalLimit(Entity):
    """How well the best unbiased estimator could do on some simulated examples: percentiles of errors at the Cramér-Rao bound."""

    error_median_m: float
    error_p68_m: float
    error_p95_m: float
    num_examples: int
    assumptions: str = Field(description="one sentence: what the limit takes as known and what as unknown")


class Dataset(Entity):
    """Labelled examples: immutable once ready, content-hashed, versioned by its config."""

    id: str
    name: str
    description: str = ""
    status: DatasetStatus
    kind: DatasetKind
    created_at: Instant
    num_examples: int = 0
    num_receivers: int = 0
    progress_percent: float = 0.0
    config: dict[str, Any] = Field(default_factory=dict)
    config_hash: str = Field(description="sha256 of the canonical config, sources included")
    content_hash: str | None = Field(default=None, description="sha256 of the stored arrays and their manifest")
    split: Split | None = None
    groups: tuple[str, ...] = Field(default=(), description="columns that examples may be grouped by")
    frame: CoordinateFrame | None = None
    receivers: tuple[Receiver, ...] = ()
    features: tuple[Feature, ...] = ()
    accuracy_radius_m: float | None = Field(default=None, description="m, default radius of the accuracy metric")
    physical_limit: PhysicalLimit | None = Field(default=None, description="over all examples; simulated data only")
    size_bytes: int = 0
    report: ImportReport | None = None
    error_message: str | None = None
    source: str = Field(default="", description="where the data come from, and their licence")
    is_demo: bool = False
    version: int = 1


class SyntheticDatasetConfig(Entity):
    """A simulated receiver network: what its receivers measure of each transmission."""

    kind: Literal["synthetic"] = "synthetic"
    name: Name
    description: str = Field(default="", max_length=2000)
    num_examples: int = Field(default=20_000, ge=100, le=10_000_000)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    frequency_mhz: float = Field(default=145.0, ge=30, le=3000, allow_inf_nan=False, description="MHz, carrier")
    propagation: Literal["log-distance", "terrain"] = Field(
        default="log-distance", description="loss of a path: a power law, or Longley-Rice over the terrain folder's heights"
    )
    path_loss_exponent: float = Field(default=3.5, ge=2, le=6, allow_inf_nan=False)
    shadowing_sigma_db: float = Field(default=6.0, ge=0, le=20, allow_inf_nan=False, description="dB")
    shadowing_correlation: float = Field(default=0.46, ge=0, lt=1, allow_inf_nan=False, description="between receivers")
    clock_sigma_ns: float = Field(default=50.0, ge=0, le=1e9, allow_inf_nan=False, description="ns, per receiver and example")
    delay_noise_sigma_ns: float = Field(default=150.0, ge=0, le=1e9, allow_inf_nan=False, description="ns at 20 dB SNR")
    waveform: WaveformId | None = Field(
        default=None, description="what is sent: delays are then as exact as its bound allows, and delay_noise_sigma_ns is not used"
    )
    duration_s: float = Field(default=0.2, gt=0, le=60, allow_inf_nan=False, description="s, of the waveform that is correlated")
    nlos_sigma_ns: float = Field(default=0.0, ge=0, le=1e6, allow_inf_nan=False, description="ns, excess delay of each path, mean removed")
    tx_power_min_dbm: float = Field(default=27.0, ge=-30, le=60, allow_inf_nan=False, description="dBm")
    tx_power_max_dbm: float = Field(default=43.0, ge=-30, le=60, allow_inf_nan=False, validate_default=True, description="dBm")
    min_receivers: int = Field(default=3, ge=1, le=NUM_SITES, description="examples heard by fewer are drawn again")
    margin_km: float = Field(default=10.0, ge=0, le=200, allow_inf_nan=False, description="km around the receivers' box")

    signal: Literal["features", "captures"] = Field(
        default="features",
        description="what is simulated: features with the errors that physics leaves at best, or captures (IQ samples of the waveform) "
        "that features are then measured from",
    )
    crystal_sigma_ppm: float = Field(default=0.1, ge=0, le=5, allow_inf_nan=False, description="ppm, of receivers' oscillators in captures")
    keep_iq: bool = Field(default=False, description="store the samples of captures beside the features, for networks that work on them")

    @property
    def capture_rate_hz(self) -> float:
        """Sample rate of a capture, Hz; 0 without a waveform."""
        return CAPTURE_RATES_HZ[self.waveform] if self.waveform else 0.0

    @property
    def capture_samples(self) -> int:
        """Samples of a capture at each receiver."""
        return round(self.duration_s * self.capture_rate_hz)

    @property
    def iq_bytes(self) -> int:
        """What the kept samples take on the disk: two bytes a sample."""
        return 2 * self.num_examples * NUM_SITES * self.capture_samples if self.keep_iq else 0

    @field_validator("signal")
    @classmethod
    def _check_captures(cls, value: str, info: ValidationInfo) -> str:
        asked = info.data
        if value != "captures" or not {"waveform", "duration_s", "num_examples", "clock_sigma_ns"} <= asked.keys():
            return value
        if asked["waveform"] is None:
            raise ValueError("must not be captures without a waveform: say what is sent, for example nbfm-voice")
        num_samples = round(asked["duration_s"] * CAPTURE_RATES_HZ[asked["waveform"]])
        if not MIN_CAPTURE_SAMPLES <= num_samples <= MAX_CAPTURE_SAMPLES:
            shortest, longest = (limit / CAPTURE_RATES_HZ[asked["waveform"]] for limit in (MIN_CAPTURE_SAMPLES, MAX_CAPTURE_SAMPLES))
            raise ValueError(
                f"must not be captures of {asked['duration_s']:g} s: of {asked['waveform']} they last {shortest:.3g} to {longest:.3g} s"
            )
        if asked["num_examples"] > MAX_CAPTURE_EXAMPLES:
            raise ValueError(f"must not be captures for more than {MAX_CAPTURE_EXAMPLES} examples")
        if max(asked["clock_sigma_ns"], asked.get("nlos_sigma_ns", 0.0)) > MAX_CAPTURE_CLOCK_NS:
            raise ValueError(
                f"must not be captures with clocks or excess delays above {MAX_CAPTURE_CLOCK_NS:g} ns (30 km); for receivers that "
                "are not synchronized, simulate features"
            )
        return value

    @field_validator("crystal_sigma_ppm")
    @classmethod
    def _keep_the_channel(cls, value: float, info: ValidationInfo) -> float:
        limit_ppm = MAX_CRYSTAL_HZ / info.data.get("frequency_mhz", 1.0)
        if info.data.get("signal") == "captures" and value > limit_ppm:
            raise ValueError(f"must not be above {limit_ppm:.3g} at this carrier: the signal would leave its channel")
        return value

    @field_validator("keep_iq")
    @classmethod
    def _check_samples(cls, value: bool, info: ValidationInfo) -> bool:
        asked = info.data
        if not value or not {"signal", "waveform", "duration_s", "num_examples"} <= asked.keys():
            return value
        if asked["signal"] != "captures":
            raise ValueError("needs samples, which only captures have: set signal to captures")
        size = 2 * asked["num_examples"] * NUM_SITES * round(asked["duration_s"] * CAPTURE_RATES_HZ[asked["waveform"]])
        if size > MAX_IQ_BYTES:
            raise ValueError(
                f"would take {size / 1e9:.0f} GB, and at most {MAX_IQ_BYTES / 1e9:.0f} GB are allowed: ask for fewer examples "
                "or shorter captures, or keep features only"
            )
        return value

    @field_validator("tx_power_max_dbm")
    @classmethod
    def _refuse_an_empty_range(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("tx_power_min_dbm", value):
            raise ValueError("must not be below tx_power_min_dbm")
        return value


class ReachableError(Entity):
    """What transmissions heard by so many receivers allow."""

    num_receivers: int
    share: float = Field(description="of all transmissions in the region, 0 to 1")
    error_p68_m: float = Field(description="m, median over places of the 68 % radius at the bound")
    timing_needed_ns: float | None = Field(description="ns, total arrival error at each receiver that target_m asks for; null below three")


class DatasetPreview(Entity):
    """What can be reached with these receivers, clocks and signals, before anyone generates or trains."""

    target_m: float = Field(description="m, 68 % radius that is asked for")
    physical_limit: PhysicalLimit = Field(description="over transmissions heard by at least min_receivers")
    share_usable: float = Field(description="of all transmissions in the region heard by at least min_receivers, 0 to 1")
    by_receivers: tuple[ReachableError, ...]
    arrival_sigma_ns: dict[str, float] = Field(description="ns, median errors of an arrival by cause, and their total")
    iq_bytes: int = Field(default=0, description="bytes that the kept samples would take on the disk; twice as much while it is built")
    sentences: tuple[str, ...] = Field(description="the same in words, the most important first")


_RECORDING_FIELDS: Final = frozenset({"bandwidth_hz", "duration_s", "max_frequency_hz", "keep_iq"})
"""Of an import's options, those that other importers do not know."""


class ImportDatasetConfig(Entity):
    """Options of an importer; the files come as parts of the same request."""

    kind: Literal["powder", "locards", "rssi-csv", "rssi-parquet", "recordings"]
    name: Name
    description: str = Field(default="", max_length=2000)
    cell_m: float = Field(default=200.0, ge=10, le=100_000, allow_inf_nan=False, description="m, edge of a location cell")
    split_column: Literal["cell", "day", "session"] = Field(default="cell", description="what is held out together")
    split_seed: int = Field(default=0, ge=0, le=2**31 - 1)
    accuracy_radius_m: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)
    bandwidth_hz: float = Field(
        default=12_500.0, ge=1_000, le=10_000_000, allow_inf_nan=False, description="Hz, channel of the signal; recordings only"
    )
    duration_s: float | None = Field(
        default=None,
        gt=0,
        le=60,
        allow_inf_nan=False,
        description="s to take of each event, the shortest event's by default; recordings only",
    )
    max_frequency_hz: float = Field(
        default=300.0, gt=0, le=10_000, allow_inf_nan=False, description="Hz, how far receivers' carriers may differ; recordings only"
    )
    keep_iq: bool = Field(
        default=False, description="store the samples beside the features, for networks that work on them; recordings only"
    )

    @field_validator("keep_iq")
    @classmethod
    def _check_samples(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("kind", "recordings") != "recordings":
            raise ValueError("needs samples, which only recordings have")
        return value

    @model_serializer(mode="wrap")
    def _leave_out_foreign(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what the kind knows, so that options of one importer are no part of what another's data set is."""
        fields: dict[str, Any] = write(self)
        if self.kind == "recordings":
            return fields
        return {name: value for name, value in fields.items() if name not in _RECORDING_FIELDS}


DatasetId = Annotated[str, StringConstraints(min_length=1, max_length=100)]
