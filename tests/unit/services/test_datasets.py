from __future__ import annotations

import io
import subprocess
import sys
import wave
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from heimdall.datasets.storage import open_dataset, verify_dataset
from heimdall.domain.datasets import DatasetKind, DatasetStatus, ImportDatasetConfig, SyntheticDatasetConfig
from heimdall.domain.errors import ConflictError, InvalidInputError, NotFoundError, StorageFullError, UnavailableError
from heimdall.domain.jobs import Job, JobStatus, TrainingJobConfig
from heimdall.queue.memory import MemoryQueue
from heimdall.services.datasets import DEMO_DATASET_ID, DatasetService
from heimdall.storage.artifacts import open_artifacts
from heimdall.storage.memory import MemoryStore

CSV = (
    "example_id,receiver_id,receiver_latitude,receiver_longitude,rssi_dbm,tx_latitude,tx_longitude\n"
    "e1,a,45.0,7.0,-80,45.01,7.01\ne1,b,45.1,7.1,-90,45.01,7.01\ne2,a,45.0,7.0,loud,45.02,7.02\ne3,a,45.0,7.0,,45.03,7.03\n"
)


class TickingClock:
    """Moves on by a fixed step at every look."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.step = timedelta(seconds=step_s)
        self.time = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self) -> datetime:
        self.time += self.step
        return self.time


class Bench:
    """A service on fakes and a real folder."""

    def __init__(self, folder: Path) -> None:
        self.store = MemoryStore()
        self.queue = MemoryQueue()
        self.folder = folder / "artifacts"
        self.artifacts = open_artifacts(str(self.folder))
        self.clock = TickingClock()
        self.service = DatasetService(store=self.store, queue=self.queue, artifacts=self.artifacts, clock=self.clock)
        self.uploads = folder

    def upload(self, content: str | bytes, name: str = "upload.csv") -> tuple[str, Path]:
        path = self.uploads / f"part-{len(list(self.uploads.iterdir()))}"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return name, path

    def files(self) -> list[str]:
        return [key for prefix in ("datasets", "incoming") for key in self.artifacts.find(prefix)]

    def add_job(self, dataset_id: str, status: JobStatus) -> None:
        config = TrainingJobConfig(job_name="j", dataset_id=dataset_id)
        job = Job(
            id="j1", name="j", status=status, created_at=self.clock.now(), config=config, total_epochs=config.epochs, dataset_id=dataset_id
        )
        with self.store.write() as tx:
            tx.jobs.add(job)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def synthetic(**changes: object) -> SyntheticDatasetConfig:
    return SyntheticDatasetConfig.model_validate({"name": "s", "num_examples": 300, **changes})


def test_a_synthetic_data_set_is_building_until_a_worker_has_made_it(bench):
    dataset = bench.service.create_synthetic(synthetic())
    assert dataset.status is DatasetStatus.BUILDING
    assert list(bench.queue.datasets) == [dataset.id]
    assert bench.service.get(dataset.id) == dataset
    built = bench.service.build(dataset.id)
    assert built.status is DatasetStatus.READY
    assert bench.service.get(dataset.id) == built
    assert (built.num_examples, built.num_receivers, len(built.features)) == (300, 7, 8)
    assert (built.progress_percent, built.split.column, built.groups) == (100.0, "cell", ("cell",))
    assert built.accuracy_radius_m > 0
    arrays = open_dataset(bench.folder / "datasets" / dataset.id)
    assert verify_dataset(arrays.directory) == built.content_hash == arrays.content_hash
    assert built.size_bytes == bench.artifacts.size(f"datasets/{dataset.id}")


def test_equal_configs_give_equal_hashes_under_any_name(bench):
    first, second, other = (bench.service.create_synthetic(c) for c in (synthetic(), synthetic(name="t"), synthetic(seed=1)))
    assert first.id != second.id
    assert first.config_hash == second.config_hash != other.config_hash
    a, b, c = (bench.service.build(dataset.id) for dataset in (first, second, other))
    assert a.content_hash == b.content_hash != c.content_hash


def test_a_power_range_that_is_empty_is_refused_at_its_field():
    with pytest.raises(ValidationError, match=r"tx_power_max_dbm\n.*must not be below"):
        synthetic(tx_power_min_dbm=50)


def test_an_import_keeps_names_as_text_only_and_says_what_it_left_out(bench):
    name, path = bench.upload(CSV, "../../etc/pass\nwd.csv")
    dataset = bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), [(name, path)])
    assert dataset.config["sources"][0]["name"] == "../../etc/passwd.csv"
    assert bench.files() == [f"incoming/{dataset.id}/0.csv"]
    built = bench.service.build(dataset.id)
    assert (built.kind, built.status) == (DatasetKind.RSSI_CSV, DatasetStatus.READY)
    assert (built.num_examples, built.num_receivers) == (2, 2)
    assert (built.report.num_rows, built.report.num_rejected) == (4, 1)
    assert built.report.reasons == {"rssi_dbm is not a number": 1}
    assert all(key.startswith(f"datasets/{dataset.id}/") for key in bench.files())


def wav(seed: int) -> bytes:
    stream = io.BytesIO()
    with wave.open(stream, "wb") as file:
        file.setparams((1, 2, 8_000, 0, "NONE", ""))
        file.writeframes(np.random.default_rng(seed).integers(-9000, 9000, 16_000).astype("<i2").tobytes())
    return stream.getvalue()


VOICED = {"signal": "captures", "waveform": "nbfm-voice", "duration_s": 0.05, "num_examples": 100, "keep_iq": True}


def test_a_voice_is_part_of_what_a_simulated_data_set_is(bench):
    first, same, other = (bench.service.create_synthetic(synthetic(**VOICED), [bench.upload(wav(seed), "../a.wav")]) for seed in (1, 1, 2))
    silent = bench.service.create_synthetic(synthetic(**VOICED))
    assert first.config_hash == same.config_hash
    assert len({first.config_hash, other.config_hash, silent.config_hash}) == 3
    assert [source["name"] for source in first.config["sources"]] == ["../a.wav"]
    assert f"incoming/{first.id}/0.voice" in bench.files()
    a, b, c = (bench.service.build(dataset.id) for dataset in (first, same, other))
    assert a.status is DatasetStatus.READY, a.error_message
    assert a.content_hash == b.content_hash != c.content_hash
    assert not any(key.startswith(f"incoming/{first.id}") for key in bench.files())


def test_a_voice_that_nothing_would_send_or_that_is_none_is_said(bench):
    with pytest.raises(InvalidInputError, match="Only captures of nbfm-voice or nbfm-voice-25k send a voice"):
        bench.service.create_synthetic(synthetic(), [bench.upload(wav(1))])
    with pytest.raises(InvalidInputError, match="is empty"):
        bench.service.create_synthetic(synthetic(**VOICED), [bench.upload(b"")])
    failed = bench.service.build(bench.service.create_synthetic(synthetic(**VOICED), [bench.upload(b"no wave")]).id)
    assert failed.status is DatasetStatus.FAILED
    assert "tar or zip" in failed.error_message


def test_samples_leave_as_sigmf_and_come_back(bench):
    made = bench.service.build(bench.service.create_synthetic(synthetic(**{**VOICED, "waveform": "flat-12k5"}, name="a/b ü")).id)
    name, chunks = bench.service.export_sigmf(made.id, max_examples=10)
    assert name == "a-b-sigmf.tar"
    config = ImportDatasetConfig(kind="recordings", name="back", keep_iq=True)
    back = bench.service.build(bench.service.create_import(config, [bench.upload(b"".join(chunks), "x.tar")]).id)
    assert (back.status, back.num_examples, back.config["keep_iq"]) == (DatasetStatus.READY, 10, True)
    assert [receiver.id for receiver in back.receivers] == [receiver.id for receiver in made.receivers]


def test_what_has_no_samples_or_is_not_ready_cannot_leave_as_sigmf(bench):
    waiting = bench.service.create_synthetic(synthetic())
    with pytest.raises(ConflictError, match="is building, not ready"):
        bench.service.export_sigmf(waiting.id)
    with pytest.raises(InvalidInputError, match="Make one with keep_iq"):
        bench.service.export_sigmf(bench.service.build(waiting.id).id)


def test_options_of_recordings_are_no_part_of_other_imports(bench):
    plain = bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), [bench.upload(CSV)])
    assert not {"keep_iq", "bandwidth_hz", "duration_s", "max_frequency_hz"} & plain.config.keys()
    with pytest.raises(ValidationError, match="only recordings have"):
        ImportDatasetConfig(kind="rssi-csv", name="mine", keep_iq=True)


@pytest.mark.parametrize(
    ("kind", "options", "config_hash"),
    [
        ("powder", {}, "1da94dd15e5a203ecdf52cc29bec98ddff4b5b682126428850c7e9a490c786d4"),
        ("locards", {}, "f2340f5f27387c309a325fbdc72251a398f9ff6bf19bc4516d56c85425a92f94"),
        ("rssi-csv", {"cell_m": 300.0}, "18f91dea719e947cffee1f1bbb9e37d31f98337695224c12b7de58cd142589c2"),
        ("rssi-parquet", {}, "811d5fba8136bc84988b21fdb64bdddfc0721ce7e700fcb74f9948ca4355e34c"),
        ("recordings", {}, "688f68dd77538eb1cde6e99a347756793a4c0ce04fd22fdffca670654acccc64"),
        ("recordings", {"keep_iq": True, "duration_s": 0.2}, "d4f8d807ad3a0a6a91ec44ee403f22e7bfbae60102a7d08a570900710ea93507"),
    ],
)
def test_what_was_imported_before_keeps_its_hash(bench, kind, options, config_hash):
    dataset = bench.service.create_import(ImportDatasetConfig(kind=kind, name="n", **options), [bench.upload("x")])
    assert dataset.config_hash == config_hash


def test_other_files_are_another_config(bench):
    config = ImportDatasetConfig(kind="rssi-csv", name="mine")
    first, same, other = (bench.service.create_import(config, [bench.upload(text)]) for text in (CSV, CSV, CSV + "\n"))
    assert first.config_hash == same.config_hash != other.config_hash


def test_an_importer_fills_in_its_natural_split_only_where_none_was_asked_for(bench):
    left_open = bench.service.create_import(ImportDatasetConfig(kind="locards", name="l"), [bench.upload("x")])
    asked = bench.service.create_import(ImportDatasetConfig(kind="locards", name="l", split_column="cell"), [bench.upload("x")])
    assert (left_open.config["split_column"], asked.config["split_column"]) == ("session", "cell")


def test_an_unusable_file_fails_the_data_set_with_one_sentence_and_leaves_nothing(bench):
    dataset = bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), [bench.upload("a,b\n1,2\n")])
    failed = bench.service.build(dataset.id)
    assert failed.status is DatasetStatus.FAILED
    assert "lacks the column(s) example_id" in failed.error_message
    assert bench.files() == []
    assert bench.service.build(dataset.id) == failed


@pytest.mark.parametrize("content", [b"", None])
def test_no_file_and_an_empty_file_are_refused_at_once(bench, content):
    files = [] if content is None else [bench.upload(content)]
    with pytest.raises(InvalidInputError, match=r"at least one file|is empty"):
        bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), files)
    assert bench.service.find_all() == []
    assert bench.files() == []


def test_a_broker_that_is_away_loses_no_data_set(bench):
    bench.queue.is_away = True
    dataset = bench.service.create_synthetic(synthetic())
    assert bench.service.get(dataset.id).status is DatasetStatus.BUILDING


def test_building_twice_gives_the_same_and_changes_nothing_the_second_time(bench):
    dataset = bench.service.create_synthetic(synthetic())
    first = bench.service.build(dataset.id)
    assert bench.service.build(dataset.id) == first


def test_a_build_that_died_is_simply_done_again(bench, monkeypatch):
    dataset = bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), [bench.upload(CSV)])

    def die(key: str, source: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bench.artifacts, "put_folder", die)
        with pytest.raises(KeyboardInterrupt):
            bench.service.build(dataset.id)
    assert bench.service.get(dataset.id).status is DatasetStatus.BUILDING
    assert bench.service.build(dataset.id).status is DatasetStatus.READY


def test_a_full_disk_fails_the_data_set_and_an_absent_store_does_not(bench, monkeypatch):
    dataset = bench.service.create_synthetic(synthetic())

    def refuse(error: Exception):
        def put(key: str, source: Path) -> None:
            raise error

        return put

    monkeypatch.setattr(bench.artifacts, "put_folder", refuse(UnavailableError("away")))
    with pytest.raises(UnavailableError):
        bench.service.build(dataset.id)
    assert bench.service.get(dataset.id).status is DatasetStatus.BUILDING
    monkeypatch.setattr(bench.artifacts, "put_folder", refuse(StorageFullError("The disk is full.")))
    assert bench.service.build(dataset.id).error_message == "The disk is full."


def test_progress_is_stored_at_most_twice_a_second(bench, monkeypatch):
    saved: list[float] = []
    original = bench.service._change_building

    def spy(dataset_id: str, changes: dict[str, object]):
        saved.append(changes.get("progress_percent"))
        return original(dataset_id, changes)

    monkeypatch.setattr(bench.service, "_change_building", spy)
    bench.clock.step = timedelta(seconds=0.2)
    bench.service.build(bench.service.create_synthetic(synthetic(num_examples=12 * 1024)).id)
    assert len(saved) == 12 // 3 + 1
    assert saved == sorted(saved)
    assert saved[-1] == 100


def test_a_data_set_deleted_while_it_is_built_leaves_nothing(bench):
    dataset = bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), [bench.upload(CSV)])
    original = bench.artifacts.put_folder

    def delete_first(key: str, source: Path) -> None:
        with bench.store.write() as tx:
            tx.datasets.delete(dataset.id)
        original(key, source)

    bench.artifacts.put_folder = delete_first
    with pytest.raises(NotFoundError):
        bench.service.build(dataset.id)
    assert bench.files() == []


def test_source_files_that_are_gone_fail_the_data_set(bench):
    dataset = bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), [bench.upload(CSV)])
    bench.artifacts.delete(f"incoming/{dataset.id}")
    assert bench.service.build(dataset.id).status is DatasetStatus.FAILED


def test_a_second_builder_that_comes_late_does_no_harm(bench, monkeypatch):
    dataset = bench.service.create_import(ImportDatasetConfig(kind="rssi-csv", name="mine"), [bench.upload(CSV)])
    rival = DatasetService(store=bench.store, queue=bench.queue, artifacts=bench.artifacts, clock=bench.clock)
    original = bench.artifacts.put_folder

    def lose_the_race(key: str, source: Path) -> None:
        monkeypatch.setattr(bench.artifacts, "put_folder", original)
        rival.build(dataset.id)
        original(key, source)

    monkeypatch.setattr(bench.artifacts, "put_folder", lose_the_race)
    result = bench.service.build(dataset.id)
    assert result.status is DatasetStatus.READY
    assert verify_dataset(bench.folder / "datasets" / dataset.id) == result.content_hash


def test_deleting_removes_row_and_files(bench):
    dataset = bench.service.create_synthetic(synthetic())
    bench.service.build(dataset.id)
    bench.service.delete(dataset.id)
    assert bench.files() == []
    with pytest.raises(NotFoundError):
        bench.service.get(dataset.id)
    with pytest.raises(NotFoundError):
        bench.service.delete(dataset.id)


def test_a_data_set_that_an_active_job_uses_stays(bench):
    dataset = bench.service.create_synthetic(synthetic())
    bench.service.build(dataset.id)
    bench.add_job(dataset.id, JobStatus.PAUSED)
    with pytest.raises(ConflictError):
        bench.service.delete(dataset.id)
    assert bench.files() != []
    assert bench.service.get(dataset.id).status is DatasetStatus.READY


def test_a_data_set_of_finished_jobs_may_go(bench):
    dataset = bench.service.create_synthetic(synthetic())
    bench.add_job(dataset.id, JobStatus.COMPLETED)
    bench.service.delete(dataset.id)
    assert bench.service.find_all() == []


def test_the_demo_is_seeded_once(bench):
    demo = bench.service.ensure_demo()
    assert (demo.id, demo.is_demo, demo.status) == (DEMO_DATASET_ID, True, DatasetStatus.READY)
    assert demo.num_examples == 6000
    assert bench.service.ensure_demo() == demo
    assert bench.service.find_all() == [demo]
    assert not bench.queue.datasets


def test_a_demo_that_failed_or_was_left_unfinished_is_made_again(bench, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(bench.artifacts, "put_folder", lambda key, source: (_ for _ in ()).throw(StorageFullError("full")))
        assert bench.service.ensure_demo().status is DatasetStatus.FAILED
    assert bench.service.ensure_demo().status is DatasetStatus.READY


def test_the_service_itself_loads_no_numpy():
    code = "import sys, heimdall.services.datasets; print([m for m in ('numpy', 'torch', 'scipy', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
