"""The stored models: names, versions, what in use means, and the numbers behind the error plot."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from heimdall.domain.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from heimdall.domain.jobs import Job, JobStatus, TrainingJobConfig
from tests.unit.services.bundle_world import NOW, World, add_model, make_world


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "artifacts")


def add_job(world: World, job_id: str, status: JobStatus, *, continued_from: str | None = None, model_id: str | None = None) -> None:
    config = TrainingJobConfig(job_name=f"Job {job_id}", dataset_id="dataset-1")
    job = Job(
        id=job_id,
        name=config.job_name,
        status=status,
        created_at=NOW,
        config=config,
        total_epochs=50,
        dataset_id="dataset-1",
        continued_from=continued_from,
        model_id=model_id,
    )
    with world.store.write() as tx:
        tx.jobs.add(job)


def test_models_are_listed_without_their_detail(world: World) -> None:
    add_model(world)
    (listed,) = world.models.find_all()
    assert listed.id == "model-1"
    assert not hasattr(listed, "receivers")
    assert world.models.get("model-1").receivers[0].name == "Alpha"


def test_a_renamed_model_takes_the_next_version_under_its_new_name(world: World) -> None:
    add_model(world)
    add_model(world, model_id="model-2", name="Better", version=4)

    renamed = world.models.rename("model-1", "  Better ")

    assert (renamed.name, renamed.version) == ("Better", 5)
    assert world.models.get("model-1") == renamed


def test_a_rename_to_the_same_name_changes_nothing(world: World) -> None:
    model = add_model(world)
    assert world.models.rename("model-1", model.name) == model
    assert world.models.get("model-1") == model


@pytest.mark.parametrize("name", ["", "   ", "x" * 256, "a\nb", "a\x00b", "a\u202eb"])
def test_a_name_that_is_none_is_refused(world: World, name: str) -> None:
    model = add_model(world)
    with pytest.raises(InvalidInputError) as caught:
        world.models.rename("model-1", name)
    assert caught.value.field == "name"
    assert world.models.get("model-1") == model


@pytest.mark.parametrize(
    "act", [lambda world: world.models.get("x"), lambda world: world.models.rename("x", "y"), lambda world: world.models.delete("x")]
)
def test_an_unknown_model_is_named_so(world: World, act: Any) -> None:
    with pytest.raises(NotFoundError):
        act(world)


@pytest.mark.parametrize("status", [None, JobStatus.COMPLETED, JobStatus.FAILED])
def test_a_model_nobody_uses_goes_with_all_its_files(world: World, status: JobStatus | None) -> None:
    add_model(world)
    add_model(world, model_id="model-2", version=4)
    if status is not None:
        add_job(world, "job-1", status)

    world.models.delete("model-1")

    assert [model.id for model in world.models.find_all()] == ["model-2"]
    assert world.files() == ["models/model-2/model.onnx", "models/model-2/samples.safetensors"]


def test_a_model_in_use_asks_for_its_name(world: World) -> None:
    add_model(world)
    add_job(world, "job-1", JobStatus.COMPLETED)
    add_job(world, "job-2", JobStatus.PENDING, continued_from="job-1")

    for wrong in (None, "", "demo model"):
        with pytest.raises(ConflictError, match="Job job-2") as caught:
            world.models.delete("model-1", confirm_name=wrong)
        assert (caught.value.code, caught.value.field) == ("confirm_name", "confirm_name")
    assert len(world.files()) == 2

    world.models.delete("model-1", confirm_name="Demo model")
    assert world.models.find_all() == []


def test_a_model_that_its_job_shows_asks_for_its_name_and_then_nothing_dangles(world: World) -> None:
    add_model(world)
    add_job(world, "job-1", JobStatus.COMPLETED, model_id="model-1")

    with pytest.raises(ConflictError, match="result of the job 'Job job-1'") as caught:
        world.models.delete("model-1")
    assert caught.value.code == "confirm_name"

    world.models.delete("model-1", confirm_name="Demo model")
    with world.store.read() as tx:
        job = tx.jobs.get("job-1")
        assert (job.model_id, job.status, job.version, job.last_seq) == (None, JobStatus.COMPLETED, 2, 1)
        (event,) = tx.events.list_of_job("job-1")
        assert (event.payload["reason"], event.payload["job"]["model_id"]) == ("model_deleted", None)


def test_files_that_cannot_go_now_go_later_and_the_model_is_gone_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    add_model(world)

    def fail(key: str) -> None:
        raise UnavailableError(f"{key} cannot be deleted now")

    with monkeypatch.context() as patch:
        patch.setattr(world.artifacts, "delete", fail)
        world.models.delete("model-1")
    assert world.models.find_all() == []
    with world.store.read() as tx:
        assert tx.upkeep.list_buried() == ["models/model-1"]


def add_evaluated(world: World, count: int, *, has_radii: bool = True) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    tensors = {
        "truth_enu_m": rng.normal(size=(count, 2)).astype(np.float32),
        "prediction_enu_m": rng.normal(size=(count, 2)).astype(np.float32),
        "covariance_m2": np.tile(np.eye(2, dtype=np.float32), (count, 1, 1)),
        "num_heard": rng.integers(1, 7, count).astype(np.int32),
        "row": np.arange(count, dtype=np.int64) * 3,
    }
    if has_radii:
        tensors |= {"ellipse_levels": np.array([0.5, 0.68, 0.95]), "ellipse_radii": np.array([1.3, 1.51, 3.9])}
    if count:
        tensors["prediction_enu_m"][0, 0] = np.nan
    with world.artifacts.write("models/model-1/evaluation.safetensors") as target:
        target.write(save(tensors))
    add_model(world, evaluation_key="models/model-1/evaluation.safetensors")
    return tensors


def test_an_evaluation_is_whole_where_it_is_small(world: World) -> None:
    tensors = add_evaluated(world, 50)
    found = world.models.evaluation("model-1")

    assert (found["total"], found["num_rows"], found["accuracy_radius_m"]) == (50, 50, 200.0)
    assert found["row"] == tensors["row"].tolist()
    assert found["num_heard"] == tensors["num_heard"].tolist()
    assert found["truth_enu_m"][7] == tensors["truth_enu_m"][7].tolist()
    expected = np.linalg.norm(tensors["truth_enu_m"].astype(float) - tensors["prediction_enu_m"].astype(float), axis=1)
    assert found["error_m"][1:] == pytest.approx(expected[1:].tolist())
    assert found["prediction_enu_m"][0][0] is None
    assert found["error_m"][0] is None
    assert all(math.isfinite(value) for value in found["error_m"][1:])


def test_an_evaluation_is_thinned_evenly_and_says_of_how_many(world: World) -> None:
    add_evaluated(world, 1003)
    found = world.models.evaluation("model-1", max_rows=100)

    assert (found["total"], found["num_rows"]) == (1003, 100)
    steps = {later - earlier for earlier, later in zip(found["row"], found["row"][1:], strict=False)}
    assert steps <= {30, 33}
    assert {len(found[name]) for name in ("row", "truth_enu_m", "prediction_enu_m", "error_m", "covariance_m2", "num_heard")} == {100}


def test_the_radii_of_the_ellipses_stand_beside_the_rows_and_are_not_thinned(world: World) -> None:
    add_evaluated(world, 1003)
    found = world.models.evaluation("model-1", max_rows=2)
    assert (found["ellipse_levels"], found["ellipse_radii"]) == ([0.5, 0.68, 0.95], [1.3, 1.51, 3.9])


def test_an_evaluation_of_before_has_no_radii(world: World) -> None:
    add_evaluated(world, 4, has_radii=False)
    found = world.models.evaluation("model-1")
    assert found["ellipse_levels"] is found["ellipse_radii"] is None


def test_an_empty_evaluation_is_empty(world: World) -> None:
    add_evaluated(world, 0)
    assert world.models.evaluation("model-1")["error_m"] == []


def test_an_imported_model_says_that_it_has_no_evaluation(world: World) -> None:
    add_model(world)
    with pytest.raises(NotFoundError, match="imported"):
        world.models.evaluation("model-1")
