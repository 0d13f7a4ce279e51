"""What of a job lies in Redis under names of ours, in the hash of the RQ job."""

from enum import StrEnum


class Field(StrEnum):
    """Our fields in the RQ job's hash."""

    PROGRESS = "enlarger_progress"
    FAILURE = "enlarger_failure"
    CANCEL = "enlarger_cancel"
    ATTEMPTS = "enlarger_attempts"
    WORK = "enlarger_work_px"
    WORK_MMAC = "enlarger_work_mmac"
    OWNER = "enlarger_owner"
