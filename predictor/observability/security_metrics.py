"""What authentication and quotas tell, as metrics: the other side of :mod:`predictor.security.events`."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from predictor.observability.readings import Reading

_RATE_LIMITED = "rate_limited"


class SecurityMetrics:
    """Counts refusals in plain integers, since an attack makes many; implements ``SecurityEvents``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refusals: dict[str, int] = {}
        self._rate_limited = 0
        for reading in (
            Reading(
                "counter",
                "telltale_auth_refusals",
                "Requests refused because of their token, by reason.",
                self._refusals.copy,
                "reason",
            ),
            Reading(
                "counter", "telltale_rate_limited", "Requests beyond their subject's quota.", lambda: self._rate_limited
            ),
        ):
            registry.register(reading)
        self._keys = Gauge("telltale_auth_keys", "Keys of the issuer that can be used.", registry=registry)
        self._key_failures = Counter(
            "telltale_auth_key_fetch_failures", "Reads of the issuer's keys that failed.", registry=registry
        )
        self._leases = Counter("telltale_quota_leases", "Leases of quotas that PostgreSQL gave.", registry=registry)
        self._lease_failures = Counter(
            "telltale_quota_lease_failures", "Leases of quotas that failed.", registry=registry
        )
        self._lease_seconds = Gauge("telltale_quota_lease_seconds", "Time of the last lease.", registry=registry)
        self._subjects = Gauge("telltale_quota_subjects", "Subjects of the last lease.", registry=registry)
        self._up = Gauge(
            "telltale_quota_store_up", "1 while quotas are leased; 0 while the last share holds.", registry=registry
        )
        self._up.set(1)

    def refused(self, reason: str) -> None:
        """Count a refusal; ``reason`` is one of a small, stable set."""
        if reason == _RATE_LIMITED:
            self._rate_limited += 1
        else:
            self._refusals[reason] = self._refusals.get(reason, 0) + 1

    def keys_fetched(self, keys: int) -> None:
        """Note how many keys can be used."""
        self._keys.set(keys)

    def keys_failed(self) -> None:
        """Count a read that failed."""
        self._key_failures.inc()

    def quotas_leased(self, subjects: int, seconds: float) -> None:
        """Note a lease."""
        self._leases.inc()
        self._lease_seconds.set(seconds)
        self._subjects.set(subjects)

    def quotas_failed(self) -> None:
        """Count a lease that failed."""
        self._lease_failures.inc()

    def quotas_alone(self, alone: bool) -> None:
        """Note whether the database leases quotas."""
        self._up.set(not alone)
