"""The queue's worker: takes training jobs one at a time, tries again what may pass, gives up on what will not.

A worker that dies leaves its job marked as running; the heartbeats stop, and another worker (or the next one here)
takes it over. Outages of PostgreSQL, the object store or MLflow are waited out and never count as attempts.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable

from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision
from procrastinate.jobs import Job, Status

from store.errors import StoreUnavailable
from store.ingest_log import IngestLog
from store.postgres import connection_options
from store.queue import QUEUE, TASK
from trainer.errors import TrackingUnavailable
from trainer.training import Training

_log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 2.0
_LOST_SECONDS = 10.0
_LONGEST_WAIT = 30
_TEMPORARY = (StoreUnavailable, TrackingUnavailable)


class Retry(BaseRetryStrategy):
    """Waits that double up to half a minute; an end only for faults that are the batch's own."""

    def __init__(self, max_attempts: int) -> None:
        self._max_attempts = max_attempts

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to try again, or None to give up."""
        if self.gives_up(exception, job.attempts):
            return None
        return RetryDecision(retry_in={"seconds": min(2**job.attempts, _LONGEST_WAIT)})

    def gives_up(self, exception: BaseException, attempts: int) -> bool:
        """Tell whether a job that failed with ``exception`` after ``attempts`` earlier ones has failed for good."""
        return not isinstance(exception, _TEMPORARY) and attempts + 1 >= self._max_attempts


class Worker:
    """One worker process's loop.

    Args:
        database_url: PostgreSQL.
        training: what a job does.
        log: where a batch that failed for good is recorded.
        max_attempts: attempts at a batch before it fails for good.
        stop_grace: seconds that a job may go on after being asked to stop.

    """

    def __init__(
        self, database_url: str, training: Training, log: IngestLog, *, max_attempts: int, stop_grace: float
    ) -> None:
        self._training = training
        self._log = log
        self._retry = Retry(max_attempts)
        self._stop_grace = stop_grace
        self._app = App(
            connector=PsycopgConnector(conninfo=database_url, min_size=1, max_size=4, kwargs=connection_options())
        )
        self._app.task(name=TASK, queue=QUEUE, retry=self._retry, pass_context=True)(self._train)

    def _train(self, context: JobContext, batch_id: str) -> None:
        try:
            self._training.train(batch_id)
        except Exception as error:
            _log.warning("training of batch %s failed: %s", batch_id, error, exc_info=not isinstance(error, _TEMPORARY))
            if self._retry.gives_up(error, context.job.attempts):
                self._log.fail_training(batch_id, f"{type(error).__name__}: {error}")
            raise

    async def run(self, on_ready: Callable[[], None]) -> None:
        """Work until SIGTERM or SIGINT.

        A second signal changes nothing. If the job that runs does not end within the grace, the process exits at once:
        the job is safe to cut, and will be begun anew.
        """
        loop = asyncio.get_running_loop()
        async with self._app.open_async():
            rescue = asyncio.create_task(self._rescue_forever())
            work = asyncio.create_task(
                self._app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=1,
                    install_signal_handlers=False,
                    fetch_job_polling_interval=2.0,
                    update_heartbeat_interval=_HEARTBEAT_SECONDS,
                    stalled_worker_timeout=_LOST_SECONDS,
                )
            )

            def stop() -> None:
                if not work.cancelling():
                    _log.info("stopping; a training may go on for %.0f s", self._stop_grace)
                    work.cancel()
                    loop.call_later(self._stop_grace, os._exit, 0)

            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, stop)
            on_ready()
            done, _ = await asyncio.wait({work, rescue}, return_when=asyncio.FIRST_COMPLETED)
            rescue.cancel()
            for task in done:
                if not task.cancelled():
                    task.result()

    async def _rescue_forever(self) -> None:
        """Give lost workers' jobs back to the queue."""
        while True:
            for job in await self._app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=_LOST_SECONDS):
                await self._rescue(job)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    async def _rescue(self, job: Job) -> None:
        batch_id = str(job.task_kwargs["batch_id"])
        if job.attempts >= 2 * self._retry_limit:
            _log.error("batch %s ended %d workers and is given up", batch_id, job.attempts)
            await self._app.job_manager.finish_job(job, Status.FAILED, delete_job=False)
            await asyncio.to_thread(
                self._log.fail_training, batch_id, "its training ended the worker process each time"
            )
            return
        _log.info("taking over batch %s from a worker that was lost", batch_id)
        await self._app.job_manager.retry_job(job)

    @property
    def _retry_limit(self) -> int:
        return self._retry._max_attempts
