"""A real S3 server, SeaweedFS, in a process of its own: it checks secrets and policies, and it can be killed.

All of it is one process: master, volume server, filer and S3 gateway. It keeps its folder and its ports, so a server
that was killed is started again as the same server with the same objects.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from standalone.child import start_child

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

REGION = "us-east-1"
# A gRPC port lies this far above its HTTP port, by the server's own habit, which its parts rely on among each other.
_GRPC_OFFSET = 10_000
# Where it puts further sockets, whatever its options say.
_SOCKETS = Path("/tmp")  # noqa: S108
_START_SECONDS = 60.0
# Its filer waits 15 s for connections that its own gateway keeps open; what was written is on the disk long before.
_STOP_SECONDS = 2.0

# What each identity may do. The name is its access key id too; the secret is the name with "-secret".
_IDENTITIES = {
    "admin": ["Admin", "Read", "Write", "List", "Tagging"],
    "reader": ["Read", "List"],
    "stranger": ["Read:no-such-bucket"],
    "writer": ["Read:limited/models/*", "Write:limited/models/*", "List:limited/models/*"],
}


class Seaweed:
    """One server in ``folder``, which is made if needed.

    Identities: ``admin`` may do everything, ``reader`` reads and lists, ``writer`` works under ``models/`` of the
    bucket ``limited`` alone, ``stranger`` may do nothing. :meth:`environment` gives the variables for one.

    The thread that starts it must live as long as it: the kernel ends it when that thread is gone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = dict(zip(("master", "volume", "filer", "s3"), _free_ports(4), strict=True))

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._ports['s3']}"

    @property
    def port(self) -> int:
        """The endpoint's port."""
        return self._ports["s3"]

    @property
    def pid(self) -> int:
        """The process that is all of the server."""
        assert self._process is not None, "it was not started"
        return self._process.pid

    @property
    def log(self) -> Path:
        """What the server says of itself."""
        return self._folder / "seaweed.log"

    def start(self) -> None:
        """Start it, again or for the first time; returns when it answers signed calls and takes objects."""
        assert self._process is None, "it runs already"
        (self._folder / "data").mkdir(parents=True, exist_ok=True)
        identities = self._folder / "identities.json"
        identities.write_text(json.dumps({"identities": [_identity(name, can) for name, can in _IDENTITIES.items()]}))
        with self.log.open("ab") as log:
            # Its environment is its own: AWS_* variables would be taken for a further identity.
            self._process = start_child(self._command(identities), output=log, env={"HOME": str(self._folder)})
        self._wait_until_ready()

    def stop(self) -> None:
        """Ask it to stop, and end it if it does not; returns when it is gone."""
        if self._process is None:
            return
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """End it as a crash would; returns when it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        for part, port in self._ports.items():
            _SOCKETS.joinpath(f"seaweedfs-{part}-grpc-{port + _GRPC_OFFSET}.sock").unlink(missing_ok=True)

    def restart(self) -> None:
        """Kill it and start it again on the same folder and ports."""
        self.kill()
        self.start()

    def is_running(self) -> bool:
        """Tell whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def environment(self, identity: str = "admin") -> dict[str, str]:
        """Return the AWS_* variables with which any AWS client works here as ``identity``."""
        return {
            "AWS_ENDPOINT_URL_S3": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": identity,
            "AWS_SECRET_ACCESS_KEY": f"{identity}-secret",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, identity: str = "admin") -> S3Client:
        """Return a plain client that tries once, whatever the environment says."""
        client: S3Client = boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=identity,
            aws_secret_access_key=f"{identity}-secret",
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=30),
        )
        return client

    def make_bucket(self, name: str) -> str:
        """Make a bucket (of at least three characters) and return its name."""
        self.client().create_bucket(Bucket=name)
        return name

    def _command(self, identities: Path) -> list[str]:
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "filer": "true",
            "s3": "true",
            "s3.config": identities,
            # A bucket that is missing is to be missing.
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "filer.localSocket": self._folder / "filer.sock",
            "s3.localSocket": self._folder / "s3.sock",
            "s3.iam": "false",
            "master.telemetry": "false",
            # It is the only master: it need not wait for others to claim their place, which takes 10 s after a kill.
            "master.electionTimeout": "1s",
            "master.heartbeatInterval": "100ms",
            # Each bucket takes volumes of its own, and they are sparse files.
            "master.volumeSizeLimitMB": 256,
            "volume.max": 2000,
            "volume.preStopSeconds": 0,
            "volume.minFreeSpace": "1MiB",
        } | {f"{part}.port": port for part, port in self._ports.items()}
        grpc = {f"{part}.port.grpc": port + _GRPC_OFFSET for part, port in self._ports.items()}
        return [
            str(_program()),
            "-logtostderr=true",
            "server",
            *(f"-{name}={value}" for name, value in (options | grpc).items()),
        ]

    def _wait_until_ready(self) -> None:
        client, deadline = self.client(), time.monotonic() + _START_SECONDS
        while not self._takes_objects(client):
            if not self.is_running() or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-3000:]
                self.kill()
                raise AssertionError(f"SeaweedFS did not start; it said:\n{said}")
            time.sleep(0.1)

    def _takes_objects(self, client: S3Client) -> bool:
        """Tell whether a bucket can be made and an object written: the gateway listens before its filer has volumes."""
        try:
            if "started" not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
                client.create_bucket(Bucket="started")
            client.put_object(Bucket="started", Key="now", Body=b"")
            client.put_object(Bucket="started", Key="bytes", Body=b"1234" * 64)
        except (BotoCoreError, ClientError):
            return False
        return True


def _program() -> Path:
    return Path(sys.executable).parent / "weed"


def _identity(name: str, actions: list[str]) -> dict[str, Any]:
    credentials = [{"accessKey": name, "secretKey": f"{name}-secret"}]
    return {"name": name, "credentials": credentials, "actions": actions}


def _free_ports(count: int) -> list[int]:
    """Return ports that are free, as are their gRPC siblings, and that the kernel does not give to clients."""
    found: list[int] = []
    candidate = 11_000 + os.getpid() * 17 % 9_000
    while len(found) < count:
        candidate = candidate + 1 if candidate < 21_000 else 11_000
        if _is_free(candidate) and _is_free(candidate + _GRPC_OFFSET):
            found.append(candidate)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
