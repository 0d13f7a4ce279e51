"""What crosses the queue: a job goes through JSON unchanged, and what is no job is refused as that."""

import json
from typing import Any

import pytest

from tests.samples import sample_job, sample_result
from worker.contract.jobs import JobResult, JobSchemaError, UpscaleJob


def test_a_job_goes_through_json_unchanged() -> None:
    job = sample_job("a")
    assert UpscaleJob.from_json(json.loads(json.dumps(job.to_json()))) == job


@pytest.mark.parametrize(
    "change",
    [
        {"schema_version": 2},
        {"scale": 5},
        {"scale": 1 << 40},
        {"output_format": "exe"},
        {"input": None},
        {"input": {"width_px": (1 << 31) + 1}},
        {"input": {"height_px": (1 << 31) + 1}},
        {"input": {"width_px": 0}},
        {"input": {"height_px": -1}},
        {"created_at": "yesterday"},
        {"priority": "now"},
    ],
)
def test_what_is_no_job_is_refused(change: dict[str, Any]) -> None:
    fields = sample_job("a").to_json()
    for name, value in change.items():
        fields[name] = fields[name] | value if isinstance(value, dict) else value
    with pytest.raises(JobSchemaError):
        UpscaleJob.from_json(fields)


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(JobSchemaError):
        JobResult.from_json({"media_type": "image/png"})
    fields = vars(sample_result())
    assert JobResult.from_json(fields) == sample_result()
    with pytest.raises(JobSchemaError):
        JobResult.from_json(fields | {"width_px": "wide"})
