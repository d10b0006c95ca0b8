"""`python -m standalone.mlflow_process`: prepares MLflow's database and accounts, then is `mlflow server`.

Started by :mod:`standalone.mlflow_server`, which says by the environment what it needs. Several replicas that start at
once take turns here: MLflow itself makes its tables at first contact, and two at once collide.
"""

from __future__ import annotations

import os
import sys

from standalone.mlflow_settings import REGISTRY, TRAINER
from store.errors import StoreUnavailable
from store.migrate import making_mlflow_tables

_ARTIFACT_ROOT = "mlflow-artifacts:/"
_COMMAND = ("server", "--app-name", "basic-auth", "--serve-artifacts", "--default-artifact-root", _ARTIFACT_ROOT)


def main() -> None:
    """Prepare, then serve until a signal."""
    uri = os.environ["MLFLOW_BACKEND_STORE_URI"]
    admin = (os.environ["MLFLOW_AUTH_ADMIN_USERNAME"], os.environ.get("MLFLOW_AUTH_ADMIN_PASSWORD", ""))
    given = {name: os.environ.pop(f"MLFLOW_{name.upper()}_PASSWORD", None) for name in (TRAINER, REGISTRY)}
    try:
        with making_mlflow_tables(uri.replace("postgresql+psycopg://", "postgresql://", 1)):
            _prepare(uri, admin, {name: password for name, password in given.items() if password})
    except StoreUnavailable as error:
        sys.exit(f"MLflow's server cannot start: {error}; look at DATABASE_URL ({error.__cause__})")
    # It was read when the auth app was imported; the workers need it no more.
    os.environ.pop("MLFLOW_AUTH_ADMIN_PASSWORD", None)
    from mlflow.cli import cli  # noqa: PLC0415 - as below

    cli.main(_COMMAND)


def _prepare(uri: str, admin: tuple[str, str], service_passwords: dict[str, str]) -> None:
    """Make the tables, the administrator, the roles and the service accounts, where they are missing."""
    # MLflow takes seconds to import, which a wrong DATABASE_URL should not take to be told.
    from mlflow.server.auth import bootstrap_admin_user, store  # noqa: PLC0415
    from mlflow.server.handlers import initialize_backend_stores  # noqa: PLC0415

    from standalone.mlflow_accounts import bring_up_to_date  # noqa: PLC0415

    initialize_backend_stores(uri, uri, _ARTIFACT_ROOT)
    bootstrap_admin_user()
    bring_up_to_date(store, admin, service_passwords)


if __name__ == "__main__":
    main()
