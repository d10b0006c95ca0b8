from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from registry.api.model_revision import ModelRevisionStatus
from registry.api.status import ActionOutcome, Attempt, Rejection, ServedModelStatus
from registry.records import MOST_ACTIONS, action_statuses, revision_status, surplus_actions, surplus_revisions

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(hours=1)
NEW = ModelRevisionStatus()


def rejected(revision: str, *, served: bool = False) -> Rejection:
    return Rejection(revision=revision, reason="Aborted", message="no", at=NOW, by="alice", served=served)


def test_the_stable_revision_serves_from_the_first_look_that_found_it_so() -> None:
    status = ServedModelStatus(stable_revision="a")
    first = revision_status("a", NEW, status, EARLIER)
    assert (first.outcome, first.weight, first.served_from, first.served_until) == ("Stable", 100, EARLIER, None)
    assert revision_status("a", first, status, NOW) == first


def test_a_candidate_has_its_weight_and_has_not_served() -> None:
    attempt = Attempt(id="b/1", step_started_at=NOW, weight=10)
    status = ServedModelStatus(stable_revision="a", candidate_revision="b", attempt=attempt)
    found = revision_status("b", NEW, status, NOW)
    assert (found.outcome, found.weight, found.served_from) == ("Candidate", 10, None)


def test_what_was_stable_is_superseded_and_its_end_is_kept() -> None:
    served = ModelRevisionStatus(outcome="Stable", served_from=EARLIER)
    status = ServedModelStatus(stable_revision="b")
    found = revision_status("a", served, status, NOW)
    assert (found.outcome, found.served_until, found.weight) == ("Superseded", NOW, 0)
    assert revision_status("a", found, status, NOW + timedelta(hours=1)) == found


def test_a_rejected_candidate_was_rejected_and_a_rejected_stable_was_rolled_back() -> None:
    status = ServedModelStatus(stable_revision="a", rejected_revisions=[rejected("b"), rejected("c", served=True)])
    found = revision_status("b", ModelRevisionStatus(outcome="Candidate"), status, NOW)
    assert (found.outcome, found.reason, found.by) == ("Rejected", "Aborted", "alice")
    served = ModelRevisionStatus(outcome="Stable", served_from=EARLIER)
    assert revision_status("c", served, status, NOW).outcome == "RolledBack"


def test_a_rejection_that_was_lifted_stays_in_the_history_until_it_is_tried_again() -> None:
    known = ModelRevisionStatus(outcome="Rejected", reason="Aborted", message="no")
    assert revision_status("b", known, ServedModelStatus(stable_revision="a"), NOW) == known
    again = ServedModelStatus(stable_revision="a", candidate_revision="b")
    assert revision_status("b", known, again, NOW).outcome == "Candidate"


def action(uid: str, created: str = "2026-01-01T12:00:00Z", **status: str) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "name": uid, "creationTimestamp": created}} | (
        {"status": status} if status else {}
    )


def test_an_action_whose_outcome_was_not_written_gets_it_and_others_are_left_alone() -> None:
    status = ServedModelStatus(
        processed_actions=["old", "new"],
        action_outcomes=[ActionOutcome(uid="new", state="Ignored", message="nothing to do")],
    )
    actions = (action("old"), action("new"), action("open"), action("done", state="Applied"))
    found = {one["metadata"]["uid"]: result for one, result in action_statuses(actions, "2026-01-01T11:00:00Z", status)}
    assert {uid: result.state for uid, result in found.items()} == {"old": "Applied", "new": "Ignored"}
    assert found["new"].message == "nothing to do"


def test_an_action_on_a_former_served_model_of_the_name_is_ignored() -> None:
    found = list(action_statuses((action("a"),), "2026-01-01T12:00:01Z", ServedModelStatus()))
    assert found[0][1].state == "Ignored"


def test_only_the_oldest_actions_that_took_effect_are_surplus() -> None:
    done = [action(f"{n:03}", f"2026-01-01T12:{n:02}:00Z", state="Applied") for n in range(MOST_ACTIONS + 2)]
    found = surplus_actions((*done, action("open", "2020-01-01T00:00:00Z")))
    assert {one["metadata"]["uid"] for one in found} == {"000", "001"}


def test_what_serves_or_may_serve_is_never_surplus() -> None:
    revisions = {
        name: {"metadata": {"name": name, "creationTimestamp": f"2026-01-0{day}T00:00:00Z"}}
        for day, name in enumerate("abcde", start=1)
    }
    status = ServedModelStatus(stable_revision="a", previous_revision="b")
    assert [one["metadata"]["name"] for one in surplus_revisions(revisions, status, 1)] == ["d", "c"]
