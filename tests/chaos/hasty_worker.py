"""`python -m tests.chaos.hasty_worker`: the worker, with pauses that a test can wait for."""

import worker.rq_worker
from worker.__main__ import main

if __name__ == "__main__":
    worker.rq_worker.RETRY_PAUSE_S = 1.0
    worker.rq_worker.MAINTENANCE_EVERY_S = 1
    main()
