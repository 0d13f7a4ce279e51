"""How much work waits, and how much of it stands before one job."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.registry import StartedJobRegistry

from worker.contract.fields import Field
from worker.contract.jobs import UpscaleJob


@dataclass(frozen=True)
class Backlog:
    """What stands before a job and the job itself, or all that there is."""

    jobs: int
    """That wait."""
    work_px: int
    """What they ask of a device, in input pixels."""
    work_mmac: float
    """The same with what is left to do of the jobs that workers have, in millions of multiply-adds."""

    def __add__(self, job: UpscaleJob) -> "Backlog":
        """With one job more."""
        return Backlog(self.jobs + 1, self.work_px + job.work_px, self.work_mmac + job.work_mmac)


# Redis holds a thousand jobs' ids and sizes in a millisecond; RQ does not run on Redis Cluster, whose rules this breaks.
# The first half of the keys are registries of jobs that workers have, whose members are a job and its execution; the other is lines.
_MEASURE = """
local jobs, px, mmac = 0, 0, 0
for i = 1, #KEYS / 2 do
    for _, member in ipairs(redis.call('ZRANGE', KEYS[i], 0, -1)) do
        local fields = redis.call('HMGET', ARGV[2] .. string.match(member, '^[^:]*'), ARGV[4], ARGV[5])
        mmac = mmac + (tonumber(fields[1]) or 0) * (1 - (tonumber(fields[2]) or 0))
    end
end
for i = #KEYS / 2 + 1, #KEYS do
    for _, id in ipairs(redis.call('LRANGE', KEYS[i], 0, -1)) do
        local fields = redis.call('HMGET', ARGV[2] .. id, ARGV[3], ARGV[4])
        jobs = jobs + 1
        px = px + (tonumber(fields[1]) or 0)
        mmac = mmac + (tonumber(fields[2]) or 0)
        if id == ARGV[1] then return {jobs, px, tostring(mmac), 1} end
    end
end
return {jobs, px, tostring(mmac), 0}
"""


def whole_backlog(redis: Redis, lines: Collection[Queue]) -> Backlog:
    """All that waits in the lines."""
    backlog, _ = _measure(redis, lines, "")
    return backlog


def backlog_until(job_id: str, redis: Redis, lines: Collection[Queue]) -> Backlog | None:
    """What stands in the lines before a job, with the job itself; None where it does not wait."""
    backlog, found = _measure(redis, lines, job_id)
    return backlog if found else None


def _measure(redis: Redis, lines: Collection[Queue], until_job_id: str) -> tuple[Backlog, bool]:
    keys = [queue.key for queue in lines]
    registries = [StartedJobRegistry(queue.name, connection=redis).key for queue in lines]
    answer: Any = redis.eval(
        _MEASURE,
        2 * len(keys),
        *registries,
        *keys,
        until_job_id,
        Job.key_for(""),
        Field.WORK,
        Field.WORK_MMAC,
        Field.PROGRESS,
    )
    jobs, work_px, work_mmac, found = answer
    return Backlog(int(jobs), int(work_px), float(work_mmac)), bool(found)
