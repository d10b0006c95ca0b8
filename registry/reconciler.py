"""One look at one ServedModel: read, decide, write the status, and then what follows from it.

The order is what makes a crash harmless. The revision is created first, since a status may name it; the status is
written against the version that was read, so of two controllers one has no effect; everything else follows from the
status alone, and the next look does what this one did not come to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock

from pydantic import ValidationError

from registry.api.served_model import ServedModelSpec
from registry.api.status import ServedModelStatus
from registry.effects import Effects
from registry.errors import NotThere
from registry.events import Recorder
from registry.gather import Gathered, Gatherer
from registry.kubernetes.resources import SERVED_MODELS, Manifest
from registry.notifications import Notification, Notifier
from registry.resolving import Resolver
from registry.rollout import conditions
from registry.rollout.decide import decide
from registry.rollout.intent import Event, Intent
from registry.rollout.manifests import weights
from registry.rollout.naming import LONGEST_SERVED_MODEL_NAME
from registry.rollout.snapshot import Target
from registry.tracing_observer import Observer
from registry.work_queue import Key

# Envoy needs up to 0.13 s from a route's change to the last request by the old one.
SETTLE = timedelta(seconds=0.2)
_SOON = timedelta(seconds=1)
# How soon to see to what could not be recorded: mostly it waits until MLflow has taken what a revision leaves behind.
_FOR_RECORDS = timedelta(seconds=5)
# How soon to see whether a name that another has is free: no watch sees what is not ours.
_FOR_NAMES = timedelta(seconds=5)


@dataclass(frozen=True)
class Looked:
    """What a look came to.

    Args:
        again_in: seconds until the next look is due, at the latest; None where only a change can bring something.
        phase: where the rollout stands; None where there is no ServedModel any more.

    """

    again_in: float | None
    phase: str | None


class Reconciler:
    """Looks at ServedModels, one at a time each; several threads may look at different ones.

    Args:
        gatherer: reads.
        effects: writes.
        resolver: forgets what is gone.
        recorder: of events.
        notifier: of changes of phase; None where nobody is told.
        clock: the time of day.
        observer: told of decisions; None where nobody is.

    """

    def __init__(
        self,
        gatherer: Gatherer,
        effects: Effects,
        resolver: Resolver,
        recorder: Recorder,
        notifier: Notifier | None,
        clock: Callable[[], datetime],
        observer: Observer | None = None,
    ) -> None:
        self._gatherer, self._effects, self._resolver = gatherer, effects, resolver
        self._observer = observer
        self._recorder, self._notifier, self._clock = recorder, notifier, clock
        self._lock = Lock()
        self._routes_written: dict[Key, datetime] = {}
        # A former controller may have written a route just before this one began.
        self._began = clock()

    def reconcile(self, key: Key) -> Looked:
        """Look at a ServedModel.

        Raises:
            Conflict: it was written meanwhile. At most a ModelRevision was created, and another look is due.

        """
        settled_at = self._settled_at(key)
        settled = self._clock() >= settled_at
        read = self._gatherer.read(key)
        if read is None:
            self._forget(key)
            return Looked(None, None)
        served_model = read.served_model
        try:
            spec = _valid(key, served_model)
        except ValidationError as error:
            fault = "; ".join(f"spec.{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
            return self._refuse(served_model, fault)
        except ValueError as error:
            return self._refuse(served_model, str(error))
        gathered = self._gatherer.gather(key, read, spec, self._clock, settled=settled)
        if gathered.settling and not gathered.snapshot.actions:
            # A moment from now there is something to decide; until then only an action could be.
            return Looked(max((settled_at - self._clock()).total_seconds(), 0.0), gathered.snapshot.status.phase)
        return self._carry_out(key, gathered, spec, decide(gathered.snapshot))

    def _carry_out(self, key: Key, gathered: Gathered, spec: ServedModelSpec, intent: Intent) -> Looked:
        snapshot = gathered.snapshot
        revisions = {name: revision.spec for name, revision in snapshot.revisions.items()}
        create = intent.create or _lost(gathered, intent)
        if create is not None:
            self._effects.create_revision(gathered.owner, create)
            revisions[create.revision] = create.spec
        changed = intent.status != snapshot.status or "status" not in gathered.served_model
        if changed:
            try:
                self._effects.write_status(SERVED_MODELS, gathered.served_model, intent.status)
            except NotThere:
                self._forget(key)  # somebody deleted it while we looked
                return Looked(None, None)
        try:
            served = self._effects.serve(gathered, spec, intent.status, revisions)
        finally:
            # Traffic first; and what is decided is told though a write should fail, since it will be done.
            if self._observer is not None:
                self._observer.decided(key, gathered, intent)
            self._tell(key, gathered, spec, intent)
        if served.routes_changed:
            with self._lock:
                self._routes_written[key] = self._clock()
        recorded = self._effects.record(gathered, spec, intent.status)
        moments = [intent.look_again] if intent.look_again is not None else []
        if served.routes_changed:
            settled_at = self._settled_at(key)
            moments = [settled_at, *(moment for moment in moments if moment > settled_at)]
        if served.postponed or changed:
            # What was decided is input to the next decision, until one changes nothing.
            moments.append(self._clock() + _SOON)
        if gathered.taken:
            passing = all(one.passing for one in gathered.taken.values())
            moments.append(self._clock() + (_SOON if passing else _FOR_NAMES))
        if not recorded:
            moments.append(self._clock() + _FOR_RECORDS)
        again = min(moments, default=None)
        seconds = None if again is None else max((again - self._clock()).total_seconds(), 0.0)
        return Looked(seconds, intent.status.phase)

    def _settled_at(self, key: Key) -> datetime:
        """Return when the gateway's proxies have had time since the last change."""
        with self._lock:
            # The time of day may have been set back since: what was written then was written by now at the latest.
            written = min(self._routes_written.get(key, self._began), self._clock())
            self._routes_written[key] = written
            return written + SETTLE

    def _tell(self, key: Key, gathered: Gathered, spec: ServedModelSpec, intent: Intent) -> None:
        """Tell people what happened; it raises nothing, since it is done on the way out of what may have failed."""
        self._notify(key, gathered, spec, intent)
        self._recorder.record(gathered.served_model, intent.events)

    def _notify(self, key: Key, gathered: Gathered, spec: ServedModelSpec, intent: Intent) -> None:
        """Have a change of phase posted, where somebody wants to know."""
        before, status = gathered.snapshot.status, intent.status
        if self._notifier is None or spec.notifications is None or before.phase == status.phase:
            return
        document = {
            "servedModel": key.name,
            "namespace": key.namespace,
            "phase": status.phase,
            "formerPhase": before.phase,
            "message": status.message,
            "stableRevision": status.stable_revision,
            "candidateRevision": status.candidate_revision,
            "weights": weights(status),
            "at": f"{gathered.snapshot.now:%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        self._notifier.send(Notification(key.namespace, spec.notifications.webhook_secret, document))

    def _refuse(self, served_model: Manifest, fault: str) -> Looked:
        """Say what is wrong with a spec that the schema let through; what served before goes on serving."""
        status = ServedModelStatus.model_validate(served_model.get("status") or {})
        generation, now = served_model["metadata"]["generation"], self._clock()
        said = conditions.of_refused(status.conditions, generation, now, fault)
        wanted = status.model_copy(update={"observed_generation": generation, "conditions": said})
        is_news = wanted != status
        if is_news:
            self._effects.write_status(SERVED_MODELS, served_model, wanted)
            self._recorder.record(served_model, [Event("InvalidSpec", fault, warning=True)])
        if self._observer is not None:
            metadata = served_model["metadata"]
            self._observer.refused(Key(metadata["namespace"], metadata["name"]), wanted, fault, is_news=is_news)
        return Looked(None, status.phase)

    def forget_all(self) -> None:
        """Begin anew: another controller may have written anything since."""
        self._effects.forget_all()
        with self._lock:
            self._routes_written.clear()
            self._began = self._clock()

    def _forget(self, key: Key) -> None:
        if self._observer is not None:
            self._observer.gone(key)
        self._resolver.forget(key)
        self._effects.forget(key)
        with self._lock:
            self._routes_written.pop(key, None)


def _valid(key: Key, served_model: Manifest) -> ServedModelSpec:
    """Return a spec; ValueError where it cannot be followed."""
    if len(key.name) > LONGEST_SERVED_MODEL_NAME:
        raise ValueError(
            f"metadata.name has {len(key.name)} characters, and at most {LONGEST_SERVED_MODEL_NAME} may be"
        )
    return ServedModelSpec.model_validate(served_model["spec"])


def _lost(gathered: Gathered, intent: Intent) -> Target | None:
    """Return what serves, where somebody deleted its ModelRevision and it can be made again."""
    target, stable = gathered.snapshot.resolution, intent.status.stable_revision
    if isinstance(target, Target) and target.revision == stable and stable not in gathered.revisions:
        return target
    return None
