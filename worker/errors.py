"""What can go wrong with one job, as the client will read it.

Each error's class docstring is its default message. Errors cross the queue as
:class:`worker.contract.jobs.JobFailure`, never as exceptions.
"""

from typing import ClassVar

from worker.contract.jobs import JobFailure


class JobError(Exception):
    """The job failed."""

    code: ClassVar[str] = "internal_error"
    """Stable, for programs."""
    retryable: ClassVar[bool] = False
    """Whether the same request could succeed later."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)

    def as_failure(self) -> JobFailure:
        """The error as data."""
        return JobFailure(self.code, str(self), self.retryable)


class PictureDamagedError(JobError):
    """The picture cannot be decoded: the file is damaged or cut off. Export it again and send that."""

    code = "picture_damaged"


class PictureUnsupportedError(JobError):
    """The picture is of a kind that is not supported: save it as PNG, JPEG, WebP or TIFF with 8 or 16 bits a sample."""

    code = "picture_unsupported"


class DecoderFailedError(JobError):
    """The picture ended the process that decodes it, or would take it too long or too much memory. Export it again and send that."""

    code = "decoder_failed"


class DecoderUnavailableError(JobError):
    """The worker could not start a process that decodes: the job will be tried again."""

    code = "decoder_unavailable"
    retryable = True


class PictureTooLargeError(JobError):
    """The result would be larger than its format allows: choose PNG or a smaller scale."""

    code = "result_too_large"


class EncodingFailedError(JobError):
    """The result cannot be written in that format: choose another."""

    code = "encoding_failed"


class ModelUnavailableError(JobError):
    """The worker does not have the model that the job asks for: give gateway and workers the same checkpoints."""

    code = "model_unavailable"


class CheckpointDamagedError(JobError):
    """The model's weights do not match their manifest and were refused: publish the version again."""

    code = "checkpoint_damaged"


class DeviceMemoryError(JobError):
    """The device has too little memory for a single tile of this model: give it more, or set a smaller ENLARGER_TILE_PX."""

    code = "device_out_of_memory"


class ResultNotFiniteError(JobError):
    """The model made samples that are no numbers, in float32 too: publish another version of it."""

    code = "result_not_finite"


class InputMissingError(JobError):
    """The upload is no longer in the blob store: send the picture again."""

    code = "input_missing"


class StorageError(JobError):
    """The blob store did not answer: the job will be tried again."""

    code = "storage_unavailable"
    retryable = True


class JobRefusedError(JobError):
    """The queue holds something that is not an upscaling job: who else writes to this Redis?"""

    code = "job_refused"


class CanceledError(JobError):
    """The job was canceled."""

    code = "canceled"
