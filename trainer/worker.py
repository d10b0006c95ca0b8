"""The queue's worker: takes training jobs one at a time, tries again what may pass, gives up on what will not.

A worker that dies leaves its job marked as running; its signs of life stop, and another worker (or the next one here)
takes the job over. Outages of the object store or MLflow are waited out inside the job. When PostgreSQL goes, the loop
around the queue begins anew, in the same process, until it is back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType

import psycopg
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from psycopg_pool import AsyncConnectionPool

from store.ingest_log import IngestLog
from store.postgres import connection_options
from store.queue import QUEUE, TASK
from trainer.retrying import MOST_LOSSES, OUTAGES, TEMPORARY, Retry, wait_seconds
from trainer.training import Training

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
_GOODBYE_SECONDS = 1.0


@dataclass(frozen=True)
class Pace:
    """Seconds: between signs of life, until a silent worker counts as lost, and that a job has after SIGTERM."""

    heartbeat: float = 2.0
    lost_after: float = 8.0
    grace: float = 5.0


class Worker:
    """One worker process.

    Args:
        database_url: PostgreSQL.
        training: what a job does.
        log: where a batch that failed for good is recorded.
        max_attempts: attempts at a batch before it fails for good.
        pace: of heartbeats and of stopping.

    """

    def __init__(
        self, database_url: str, training: Training, log: IngestLog, *, max_attempts: int, pace: Pace | None = None
    ) -> None:
        self._url = database_url
        self._training = training
        self._log = log
        self._retry = Retry(max_attempts)
        self._pace = pace or Pace()
        self._stop = asyncio.Event()
        self._stopping = threading.Event()
        self._job: Job | None = None
        self._worker_id: int | None = None

    async def run(self, *, parent: int | None = None) -> None:
        """Work until SIGTERM or SIGINT, or until the process is no longer a child of ``parent``, where one is given.

        A second signal changes nothing. If the job that runs does not end within the grace, the process exits at once:
        the job is safe to cut, and will be begun anew.
        """
        loop = asyncio.get_running_loop()

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            with suppress(RuntimeError):  # a late signal finds the loop closed: stopping is done
                loop.call_soon_threadsafe(self._stop_soon)

        # Not the loop's own handlers: those end with the loop, and a signal after that would interrupt the exit.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)
        watch = asyncio.create_task(self._watch_parent(parent)) if parent is not None else None
        while not self._stop.is_set():
            try:
                await self._serve()
            except (ConnectorException, psycopg.Error) as error:
                _log.warning("lost PostgreSQL, connecting again: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _POLL_SECONDS)
        if watch is not None:
            watch.cancel()
        _log.info("stopped")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the interpreter takes handlers away before it ends, but not this

    def _stop_soon(self) -> None:
        if not self._stop.is_set():
            _log.info("stopping; a training may go on for %g s", self._pace.grace)
            self._stop.set()
            self._stopping.set()

    async def _watch_parent(self, parent: int) -> None:
        while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells us of it but asking
            await asyncio.sleep(_POLL_SECONDS)
        self._stop_soon()

    async def _serve(self) -> None:
        """Take jobs until asked to stop, or until PostgreSQL goes."""
        pool = AsyncConnectionPool(
            self._url,
            min_size=1,
            max_size=4,
            timeout=_CONNECT_SECONDS,
            kwargs=connection_options(),
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        app = App(connector=PsycopgConnector())
        app.task(name=TASK, queue=QUEUE, retry=self._retry, pass_context=True)(self._train)
        try:
            await pool.open(wait=True, timeout=_CONNECT_SECONDS)
            async with app.open_async(pool):
                await self._forget_former_self(app)
                await self._work(app)
        finally:
            await pool.close(timeout=_GOODBYE_SECONDS)

    async def _work(self, app: App) -> None:
        rescue = asyncio.create_task(self._rescue_forever(app))
        stop = asyncio.create_task(self._stop.wait())
        work = asyncio.create_task(
            app.run_worker_async(
                queues=[QUEUE],
                concurrency=1,
                install_signal_handlers=False,
                fetch_job_polling_interval=_POLL_SECONDS,
                update_heartbeat_interval=self._pace.heartbeat,
                stalled_worker_timeout=self._pace.lost_after,
                delete_jobs="successful",
            )
        )
        _log.info("trainer ready")
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        rescue.cancel()
        if stop.done():
            work.cancel()  # which lets the job that runs come to its end
            await asyncio.wait({work}, timeout=self._pace.grace)
            if not work.done():
                await self._exit_at_once(app)
        stop.cancel()
        with suppress(asyncio.CancelledError):
            await work

    async def _exit_at_once(self, app: App) -> None:
        """Leave a training where it is; no thread can be ended otherwise."""
        _log.warning("the training does not end in time and is left to the next worker")
        with suppress(ConnectorException, TimeoutError):
            await asyncio.wait_for(self._forget_former_self(app), _GOODBYE_SECONDS)
        logging.shutdown()
        os._exit(0)

    async def _forget_former_self(self, app: App) -> None:
        """Give back the job that we left with our last connection; others would wait until we count as lost."""
        if self._worker_id is not None:
            await app.job_manager.unregister_worker(self._worker_id)
            self._worker_id = None

    def _train(self, context: JobContext, batch_id: str) -> None:
        """Do a job, in a thread of its own."""
        self._job, self._worker_id = context.job, context.job.worker_id
        job_id = context.job.id or 0
        try:
            self._outlast(batch_id)
            self._retry.faults.pop(job_id, None)
        except TEMPORARY:
            raise
        except Exception as error:
            _log.exception("training of batch %s failed", batch_id)
            self._retry.note(job_id, error)
            if self._retry.gives_up(job_id):
                self._log.fail_training(batch_id, f"{type(error).__name__}: {error}")
            raise
        finally:
            self._job = None

    def _outlast(self, batch_id: str) -> None:
        """Train, waiting out whatever is away; waits in the queue would count as lost attempts."""
        attempts = 0
        while True:
            try:
                self._training.train(batch_id)
            except OUTAGES as error:
                wait = wait_seconds(attempts)
                _log.warning("training of batch %s waits %d s: %s", batch_id, wait, error)
                if self._stopping.wait(wait):
                    raise
                attempts += 1
            else:
                return

    async def _rescue_forever(self, app: App) -> None:
        """Give lost workers' jobs back to the queue."""
        while True:
            try:
                stalled = await app.job_manager.get_stalled_jobs(
                    queue=QUEUE, seconds_since_heartbeat=self._pace.lost_after
                )
                for job in stalled:
                    await self._rescue(app, job)
            except ConnectorException as error:
                _log.debug("could not look for lost jobs: %s", error)
            await asyncio.sleep(self._pace.heartbeat)

    async def _rescue(self, app: App, job: Job) -> None:
        ours = self._job
        if ours is not None and ours.id == job.id:
            return  # our own signs of life are late; the job is well
        if job.attempts < MOST_LOSSES:
            _log.info("taking over job %s from a worker that was lost", job.id)
            await app.job_manager.retry_job(job)
            return
        batch_id = str(job.task_kwargs["batch_id"])
        _log.error("batch %s is given up: %d workers ended at it", batch_id, job.attempts + 1)
        reason = f"training it ended the worker process {job.attempts + 1} times; it may need more memory than there is"
        await asyncio.to_thread(self._log.fail_training, batch_id, reason)
        await app.job_manager.finish_job(job, Status.FAILED, delete_job=False)
