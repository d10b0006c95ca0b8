"""RolloutAction: what a person does to a rollout, once. The API server vouches for who it was."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from registry.api.base import ApiModel, rules
from registry.api.served_model import Name

Kind = Literal["Promote", "Abort", "Undo", "Approve", "Pause", "Resume", "Retry"]


class RolloutActionSpec(ApiModel):
    """What is to be done; never changed."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self == oldSelf", "a RolloutAction is immutable: create another"),
            ("!has(self.toRevision) || self.action == 'Undo'", "toRevision belongs to Undo alone"),
        )
    )

    served_model: Name
    """What it is done to."""
    action: Kind
    """Promote skips the remaining steps. Abort takes all traffic from the candidate and rejects it. Undo goes back to a
    former revision. Approve, Pause and Resume are for the step under way. Retry lets what was rejected be tried again.
    """
    requested_by: str = Field(min_length=1, max_length=512)
    """The user name, which must be the one that the API server knows the request's author by."""
    reason: str = Field("", max_length=1024)
    """Why, for people."""
    to_revision: Name | None = None
    """Undo: the ModelRevision to return to; empty takes the former stable one."""


class RolloutActionStatus(ApiModel):
    """What came of it."""

    state: Literal["Pending", "Applied", "Ignored"] = "Pending"
    """Ignored: there was nothing that it could do."""
    message: str = ""
    """What it did, or why nothing."""
