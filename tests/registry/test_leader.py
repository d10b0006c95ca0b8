from __future__ import annotations

from datetime import UTC, datetime
from threading import Event
from typing import Any

from registry.kubernetes.resources import LEASES
from registry.leader import Leader, LeaseTerms
from tests.registry.api_fake import FakeApi

TERMS = LeaseTerms("telltale", lease_seconds=15, fence_seconds=9, renew_seconds=2)


class Replica:
    """A replica with a clock of its own; clocks of two replicas have nothing to do with each other."""

    def __init__(self, api: FakeApi, name: str, clock: float) -> None:
        self.clock = clock
        self.told: list[bool] = []
        given: Any = api
        self.leader = Leader(
            given,
            api.write,
            name,
            TERMS,
            monotonic=lambda: self.clock,
            wall=lambda: datetime(2026, 1, 1, tzinfo=UTC),
        )
        self.leader.on_change(self.told.append)

    def leads(self) -> bool:
        return self.leader.is_leading()


def two(api: FakeApi) -> tuple[Replica, Replica]:
    return Replica(api, "one", 1000.0), Replica(api, "two", 5.0)


def pass_time(seconds: float, *replicas: Replica) -> None:
    for replica in replicas:
        replica.clock += seconds


def test_the_first_replica_leads_and_the_second_does_not() -> None:
    one, second = two(FakeApi())
    one.leader.step()
    second.leader.step()
    assert (one.leads(), second.leads()) == (True, False)
    assert (one.told, second.told) == ([True], [])


def test_a_leader_that_renews_goes_on_leading() -> None:
    one, second = two(FakeApi())
    for _ in range(30):
        one.leader.step()
        second.leader.step()
        pass_time(2, one, second)
    assert (one.leads(), second.leads()) == (True, False)
    assert one.told == [True]


def test_a_lease_that_does_not_change_is_taken_after_its_time_by_the_others_own_clock() -> None:
    one, second = two(FakeApi())
    one.leader.step()
    second.leader.step()
    pass_time(14.9, second)
    second.leader.step()
    assert not second.leads()
    pass_time(0.1, second)
    second.leader.step()
    assert second.leads()


def test_a_leader_that_cannot_renew_stops_writing_before_another_can_take_the_lease() -> None:
    api = FakeApi()
    one, second = two(api)
    one.leader.step()
    second.leader.step()
    api.away = True
    waited = 0.0
    while one.leads():
        pass_time(0.5, one, second)
        waited += 0.5
        one.leader.step()
    assert one.told == [True, False]
    assert waited <= TERMS.lease_seconds - 5, "a request that was under way has time to end"
    api.away = False
    second.leader.step()
    assert not second.leads()


def test_the_fence_counts_from_the_beginning_of_a_renewal_not_from_its_answer() -> None:
    api = FakeApi()
    replica = Replica(api, "one", 0.0)
    write = api.write

    def slow(wanted: Any) -> Any:
        replica.clock += 8
        return write(wanted)

    replica.leader._write = slow
    replica.leader.step()
    assert replica.leads()
    replica.clock += 1
    assert not replica.leads()


def test_a_fence_that_lapses_while_the_lease_is_renewed_is_told_so_that_nothing_is_left_out() -> None:
    api = FakeApi()
    replica = Replica(api, "one", 0.0)
    replica.leader.step()
    write = api.write

    def slow(wanted: Any) -> Any:
        replica.clock += 5
        return write(wanted)

    replica.leader._write = slow
    pass_time(TERMS.fence_seconds - 4, replica)
    replica.leader.step()
    assert replica.leads()
    assert replica.told == [True, False, True]


def test_the_lease_is_held_until_what_writes_has_ended() -> None:
    api = FakeApi()
    replica = Replica(api, "one", 0.0)
    replica.leader.step()
    stop, led = Event(), list[bool]()
    stop.set()
    replica.leader.run(stop, lambda: led.append(replica.leads()))
    assert led == [True]
    assert not replica.leads()


def test_of_two_replicas_that_take_a_lease_at_once_one_leads() -> None:
    api = FakeApi()
    one, second = two(api)
    read = api.get

    def both_read(*given: Any) -> Any:
        found = read(*given)
        api.get = read  # type: ignore[method-assign]
        second.leader.step()
        return found

    api.get = both_read  # type: ignore[method-assign]
    one.leader.step()
    assert (one.leads(), second.leads()) == (False, True)


def test_a_leader_that_stops_lets_another_take_over_at_once() -> None:
    api = FakeApi()
    one, second = two(api)
    one.leader.step()
    second.leader.step()
    one.leader.release()
    second.leader.step()
    assert (one.leads(), second.leads()) == (False, True)
    lease = api.get(LEASES, "telltale", "telltale-registry")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] == 1


def test_a_replica_that_starts_anew_under_its_former_name_leads_at_once() -> None:
    api = FakeApi()
    Replica(api, "one", 0.0).leader.step()
    again = Replica(api, "one", 0.0)
    again.leader.step()
    assert again.leads()


def test_a_replica_that_waits_looks_more_often_than_the_leader_renews_and_right_when_the_lease_ends() -> None:
    one, second = two(FakeApi())
    one.leader.step()
    second.leader.step()
    assert (one.leader.pause(), second.leader.pause()) == (2, 1)
    pass_time(14.5, second)
    assert second.leader.pause() == 0.5
    pass_time(0.5, second)
    second.leader.step()
    assert second.leads()
