"""The queue's worker: takes training jobs one at a time, shows signs of life, stops when asked.

Any number of workers share a queue; jobs of one model run one after the other, in the order of their versions. A worker
that dies leaves its job marked as running; its signs of life stop, and another worker (or the next one here) takes the
job over. When PostgreSQL goes, the loop around the queue begins anew, in the same process, until it is back.

No thread can be ended in Python, so a worker that cannot go on in order ends its process: when a training outlasts the
grace after SIGTERM, when one attempt takes longer than any should, and when the event loop itself stands still.
"""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, NoReturn

import psycopg
from procrastinate import App, JobContext, PsycopgConnector
from procrastinate.exceptions import ConnectorException
from psycopg_pool import AsyncConnectionPool

from store.attempts import Attempts, Lost, Silence
from store.errors import StoreUnavailable
from store.postgres import connection_options
from store.queue import QUEUE, TASK
from trainer.errors import Faulted
from trainer.job_runner import STOPPED, JobRunner
from trainer.retrying import Retry
from trainer.tracing import asked_by
from trainer.vitals import Doing, Vitals

_log = logging.getLogger(__name__)

_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 5.0
_GOODBYE_SECONDS = 1.0
_STUCK = 1


@dataclass(frozen=True)
class Pace:
    """Seconds: between signs of life, until a silent worker is given up, and that a job has after SIGTERM.

    ``max_losses`` is how many workers may be lost at one batch.
    """

    heartbeat: float
    silence: Silence
    grace: float
    max_losses: int


class Worker:
    """One worker process.

    Args:
        database_url: PostgreSQL.
        runner: does the jobs.
        attempts: takes over lost workers' jobs, and gives ours away.
        vitals: shows that the loop turns and what is being done.
        pace: of heartbeats and of stopping.

    """

    def __init__(self, database_url: str, runner: JobRunner, attempts: Attempts, vitals: Vitals, pace: Pace) -> None:
        self._url = database_url
        self._runner = runner
        self._attempts = attempts
        self._vitals = vitals
        self._pace = pace
        self._stop = asyncio.Event()
        self._worker_id: int | None = None

    async def run(self, *, parent: int | None = None) -> None:
        """Work until SIGTERM or SIGINT, or until the process is no longer a child of ``parent``, where one is given.

        A second signal changes nothing. If the job that runs does not end within the grace, it is handed back and the
        process exits at once: the job is safe to cut, and will be begun anew.
        """
        self._handle_signals()
        asyncio.get_running_loop().set_exception_handler(_on_lost_exception)
        tasks = [asyncio.create_task(self._live())]
        if parent is not None:
            tasks.append(asyncio.create_task(self._watch_parent(parent)))
        while not self._stop.is_set():
            try:
                await self._serve()
            except (ConnectorException, psycopg.Error) as error:
                _log.warning("lost PostgreSQL, connecting again: %s", _cause(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), _POLL_SECONDS)
        for task in tasks:
            task.cancel()
        faulthandler.cancel_dump_traceback_later()
        _log.info("stopped")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # the interpreter takes handlers away before it ends, but not this

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._runner.may_begin = False
            with suppress(RuntimeError):  # a late signal finds the loop closed: stopping is done
                loop.call_soon_threadsafe(self._stop_soon)

        # Not the loop's own handlers: those end with the loop, and a signal after that would interrupt the exit.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, on_signal)

    def _stop_soon(self) -> None:
        if not self._stop.is_set():
            _log.info("stopping; a training may go on for %g s", self._pace.grace)
            self._stop.set()
            self._runner.stop()

    async def _watch_parent(self, parent: int) -> None:
        while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells us of it but asking
            await asyncio.sleep(_POLL_SECONDS)
        self._stop_soon()

    async def _live(self) -> None:
        """Show that the loop turns; if it ever stands still, a timer that needs no Python ends the process."""
        while True:
            self._vitals.tick()
            faulthandler.dump_traceback_later(self._pace.silence.hung, exit=True)
            if (stuck := self._vitals.stuck()) is not None:
                self._give_up(stuck)
            await asyncio.sleep(_POLL_SECONDS)

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
        app.task(name=TASK, queue=QUEUE, retry=Retry(), pass_context=True)(self._train)
        try:
            await pool.open(wait=True, timeout=_CONNECT_SECONDS)
            async with app.open_async(pool):
                await self._forget_former_self(app)
                await self._work(app)
        finally:
            await pool.close(timeout=_GOODBYE_SECONDS)

    async def _work(self, app: App) -> None:
        rescue = asyncio.create_task(self._rescue_forever())
        stop = asyncio.create_task(self._stop.wait())
        work = asyncio.create_task(
            app.run_worker_async(
                queues=[QUEUE],
                concurrency=1,
                install_signal_handlers=False,
                fetch_job_polling_interval=_POLL_SECONDS,
                update_heartbeat_interval=self._pace.heartbeat,
                stalled_worker_timeout=self._pace.silence.hung,
                delete_jobs="successful",
            )
        )
        _log.info("trainer ready")
        await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
        rescue.cancel()
        if stop.done():
            work.cancel()  # which lets the job that runs come to its end
            await asyncio.wait({work}, timeout=self._pace.grace)
            if not work.done() and self._vitals.doing is None:
                await asyncio.wait({work}, timeout=_GOODBYE_SECONDS)  # it has just ended, and that is written down
            if not work.done():
                _log.warning("the training does not end in time and is handed back to the queue")
                self._leave(self._vitals.doing, STOPPED, code=0)
        stop.cancel()
        with suppress(asyncio.CancelledError):
            await work

    def _give_up(self, stuck: Doing) -> NoReturn:
        reason = f"an attempt did not end within {self._vitals.patience.attempt:g} s"
        _log.error("%s: batch %s; ending this process", reason, stuck.batch_id)
        with suppress(Faulted, StoreUnavailable):
            self._runner.blame(stuck.batch_id, reason)
        self._leave(stuck, reason, code=_STUCK)

    def _leave(self, doing: Doing | None, reason: str, *, code: int) -> NoReturn:
        """Hand a job back and end the process. The loop stands still here, so that nothing else touches the job."""
        try:
            if doing is not None:
                self._attempts.hand_back(doing.job_id, doing.batch_id, reason, worker_id=doing.worker_id)
        except StoreUnavailable as error:
            _log.warning("it could not be handed back, so others wait until we count as lost: %s", error)
        logging.shutdown()
        os._exit(code)

    async def _forget_former_self(self, app: App) -> None:
        """Give back the job that we left with our last connection; others would wait until we count as lost."""
        if self._worker_id is not None:
            await app.job_manager.unregister_worker(self._worker_id)
            self._worker_id = None

    def _train(self, context: JobContext, batch_id: str, traceparent: str | None = None) -> None:
        """Do a job, in a thread of its own; ``traceparent`` is that of the request that asked for it."""
        asked_by.set(traceparent)
        self._worker_id = context.job.worker_id
        with self._vitals.job(context.job.id or 0, context.job.worker_id or 0, batch_id):
            self._runner.run(batch_id)

    async def _rescue_forever(self) -> None:
        """Give lost workers' jobs back to the queue."""
        while True:
            try:
                for lost in await asyncio.to_thread(self._take_over):
                    self._tell(lost)
            except StoreUnavailable as error:
                _log.debug("could not look for lost jobs: %s", error)
            await asyncio.sleep(self._pace.heartbeat)

    def _take_over(self) -> list[Lost]:
        doing = self._vitals.doing
        ours = 0 if doing is None else doing.job_id
        return self._attempts.take_over(self._pace.silence, most=self._pace.max_losses, ours=ours)

    def _tell(self, lost: Lost) -> None:
        self._vitals.taken_over += 1
        if lost.given_up:
            _log.error(
                "batch %s has failed for good: %d workers ended at it, the last was %s",
                lost.batch_id,
                lost.losses,
                lost.worker,
            )
        else:
            _log.info("taking over batch %s from %s, which was lost", lost.batch_id, lost.worker)


def _on_lost_exception(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Take what procrastinate's tasks raise where nobody hears it, which is when the end of a job cannot be recorded.

    Nothing is lost by that: the job is found by those who look for lost ones, and what was done is not done again.
    """
    error = context.get("exception")
    if isinstance(error, ConnectorException):
        _log.warning("how a job ended could not be recorded in the queue: %s", _cause(error))
    else:
        loop.default_exception_handler(context)


def _cause(error: BaseException) -> str:
    """Return what PostgreSQL said, in one line."""
    return " ".join(str(error.__cause__ or error).split())
