"""The accounts and roles of the MLflow server, brought to what they should be at each of its starts.

Roles hold grants on everything of a kind, what exists and what is still to come. So a model that is trained for the
first time is the registry's to promote at once, and nobody has to grant anything.

| role | experiments, runs | registered models, versions | for |
|---|---|---|---|
| telltale-trainer | logs; deletes runs | registers, tags, moves aliases; deletes versions | account `trainer` |
| telltale-registry | reads | tags, moves aliases | account `registry` |
| telltale-editor | notes and tags | notes, tags, moves aliases | data scientists |
| telltale-reader | reads | reads | everybody else |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST, ErrorCode
from mlflow.utils.workspace_utils import DEFAULT_WORKSPACE_NAME

from standalone.mlflow_settings import REGISTRY, TRAINER

if TYPE_CHECKING:
    from mlflow.server.auth.entities import Role
    from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

# Grants by role: the kind of thing, and what is permitted with all of that kind. Where a kind is left out, runs follow
# their experiment and versions their model.
ROLES: dict[str, dict[str, str]] = {
    "telltale-trainer": {
        "experiment": "EDIT",
        "run": "MANAGE",
        "registered_model": "EDIT",
        "registered_model_version": "MANAGE",
    },
    "telltale-registry": {"experiment": "READ", "registered_model": "EDIT"},
    "telltale-editor": {"experiment": "EDIT", "registered_model": "EDIT"},
    "telltale-reader": {"experiment": "READ", "registered_model": "READ"},
}
ROLE_OF = {TRAINER: "telltale-trainer", REGISTRY: "telltale-registry"}


def bring_up_to_date(store: SqlAlchemyStore, admin: tuple[str, str], service_passwords: Mapping[str, str]) -> None:
    """Make what is missing and mend what differs; what administrators made besides stays as it is.

    Args:
        store: where MLflow's auth keeps accounts and roles.
        admin: name and password of the administrator, whose account exists.
        service_passwords: by name of the service account.

    """
    roles = {name: _role(store, name, grants) for name, grants in ROLES.items()}
    name, password = admin
    _set_password(store, name, password)
    for name, password in service_passwords.items():
        if store.has_user(name):
            _set_password(store, name, password)
            store.update_user(name, is_admin=False)
        else:
            store.create_user(name, password)
        user, role = store.get_user(name), roles[ROLE_OF[name]]
        if role.id not in {known.id for known in store.list_user_roles(user.id)}:
            store.assign_role_to_user(user.id, role.id)


def _set_password(store: SqlAlchemyStore, name: str, password: str) -> None:
    if not store.authenticate_user(name, password):
        store.update_user(name, password=password)


def _role(store: SqlAlchemyStore, name: str, grants: Mapping[str, str]) -> Role:
    """Return the role of that name, with these grants and no others."""
    try:
        role = store.get_role_by_name(DEFAULT_WORKSPACE_NAME, name)
    except MlflowException as error:
        if error.error_code != ErrorCode.Name(RESOURCE_DOES_NOT_EXIST):
            raise
        role = store.create_role(name, DEFAULT_WORKSPACE_NAME, "Telltale's own: each start of the server resets it.")
    known = {(p.resource_type, p.resource_pattern): p for p in store.list_role_permissions(role.id)}
    wanted = {(kind, "*"): permission for kind, permission in grants.items()}
    for key, grant in known.items():
        if wanted.get(key) != grant.permission:
            store.remove_role_permission(grant.id)
    for key, permission in wanted.items():
        if key not in known or known[key].permission != permission:
            store.add_role_permission(role.id, *key, permission)
    return role
