"""Writing once, in parts, and whole: against a real S3 server behind a network that fails."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError

from contract.digests import digest_of
from contract.errors import CorruptArtifact
from store.errors import ObjectExists, StoreUnavailable
from store.s3_objects import S3ObjectStore, s3_client
from tests.store.buckets import IN_PARTS, PART, opened, unfinished
from tests.store.s3_proxy import Fault, S3Proxy

if TYPE_CHECKING:
    from tests.seaweed import Seaweed


@pytest.fixture
def objects(environment: pytest.MonkeyPatch, bucket: str) -> S3ObjectStore:  # noqa: ARG001 - it is set before
    return opened(bucket, patience=6)


def _create_at_once(objects: S3ObjectStore, contents: list[bytes]) -> list[bytes]:
    """Return those of the contents whose creation succeeded."""

    def attempt(content: bytes) -> list[bytes]:
        try:
            objects.create("prize", content)
        except ObjectExists:
            return []
        return [content]

    with ThreadPoolExecutor(len(contents)) as pool:
        return [content for won in pool.map(attempt, contents) for content in won]


class TestWritingOnce:
    def test_a_create_whose_answer_was_lost_has_succeeded(self, objects: S3ObjectStore, proxy: S3Proxy) -> None:
        proxy.expect("PUT", Fault.ANSWER_LOST)
        objects.create("a", b"ours")
        assert objects.read("a") == b"ours"
        assert [request.split()[0] for request in proxy.passed] == ["PUT", "PUT", "GET", "GET"]

    def test_of_many_that_create_at_once_one_wins(self, objects: S3ObjectStore) -> None:
        won = _create_at_once(objects, [bytes([number]) for number in range(6)])
        assert won == [objects.read("prize")]

    def test_a_create_whose_answer_was_lost_is_refused_if_another_was_first(
        self, objects: S3ObjectStore, proxy: S3Proxy
    ) -> None:
        objects.create("a", b"theirs")
        proxy.expect("PUT", Fault.ANSWER_LOST)
        with pytest.raises(ObjectExists):
            objects.create("a", b"ours")
        assert objects.read("a") == b"theirs"

    def test_a_create_that_lost_a_race_is_sent_again(self, objects: S3ObjectStore, proxy: S3Proxy) -> None:
        """S3 answers 409 to one of two that write at once, and neither may have won."""
        proxy.expect("PUT", Fault.RACE_LOST)
        objects.create("a", b"ours")
        assert objects.read("a") == b"ours"

    def test_a_key_that_was_removed_meanwhile_is_no_success(
        self, objects: S3ObjectStore, proxy: S3Proxy, s3_server: Seaweed, bucket: str
    ) -> None:
        def remove(method: str) -> None:
            if method == "GET":
                s3_server.client().delete_object(Bucket=bucket, Key="a")

        objects.create("a", b"ours")
        proxy.meanwhile = remove
        with pytest.raises(StoreUnavailable, match="a was removed"):
            objects.create("a", b"ours")

    def test_two_stores_in_one_bucket_do_not_see_each_other(self, objects: S3ObjectStore, bucket: str) -> None:
        client = s3_client()
        one, ten = S3ObjectStore(client, bucket, "v1/"), S3ObjectStore(client, bucket, "v10/")
        one.create("a", b"1")
        ten.create("a", b"10")
        ten.create("b", b"10")
        assert (one.read("a"), ten.read("a")) == (b"1", b"10")
        assert (list(one.keys("")), list(ten.keys(""))) == (["a"], ["a", "b"])
        assert list(objects.keys("")) == ["v1/a", "v10/a", "v10/b"]
        assert not one.exists("b")


class TestParts:
    def test_a_large_object_goes_up_in_parts_and_comes_back_whole(
        self, objects: S3ObjectStore, proxy: S3Proxy, s3_server: Seaweed, bucket: str
    ) -> None:
        objects.create("a", IN_PARTS)
        assert objects.read("a", digest=digest_of(IN_PARTS)) == IN_PARTS
        assert sum("partNumber=" in request for request in proxy.passed) == 3
        assert unfinished(s3_server, bucket) == []

    def test_the_key_of_another_is_kept_and_no_part_left(
        self, objects: S3ObjectStore, s3_server: Seaweed, bucket: str
    ) -> None:
        objects.create("a", b"theirs")
        with pytest.raises(ObjectExists):
            objects.create("a", IN_PARTS)
        assert objects.read("a") == b"theirs"
        assert unfinished(s3_server, bucket) == []

    def test_of_many_that_create_in_parts_at_once_a_winner_is_there_whole(
        self, objects: S3ObjectStore, s3_server: Seaweed, bucket: str
    ) -> None:
        contents = [bytes([number]) * (PART + 1) for number in range(6)]
        won = _create_at_once(objects, contents)
        # SeaweedFS looks whether there is an object before it puts the parts together, so that several may win.
        assert objects.read("prize") in won
        assert unfinished(s3_server, bucket) == []

    @pytest.mark.parametrize("again", [Fault.ANSWER_LOST, Fault.RACE_LOST])
    def test_a_completion_that_was_not_heard_is_a_success_if_it_was_one(
        self, objects: S3ObjectStore, proxy: S3Proxy, again: Fault
    ) -> None:
        if again is Fault.RACE_LOST:
            objects.create("a", IN_PARTS)
        proxy.expect("POST", again, part_of_path="uploadId=")
        objects.create("a", IN_PARTS)
        assert objects.read("a") == IN_PARTS

    def test_a_completion_that_lost_a_race_to_nobody_is_tried_later(
        self, objects: S3ObjectStore, proxy: S3Proxy, s3_server: Seaweed, bucket: str
    ) -> None:
        proxy.expect("POST", Fault.RACE_LOST, part_of_path="uploadId=")
        with pytest.raises(StoreUnavailable, match="while it was written"):
            objects.create("a", IN_PARTS)
        assert unfinished(s3_server, bucket) == []
        objects.create("a", IN_PARTS)

    def test_what_fails_midway_leaves_no_part(
        self, environment: pytest.MonkeyPatch, proxy: S3Proxy, s3_server: Seaweed, bucket: str
    ) -> None:
        del environment
        proxy.expect("PUT", Fault.BROKEN, part_of_path="partNumber=2")
        with pytest.raises(StoreUnavailable):
            opened(bucket).create("a", IN_PARTS)
        assert unfinished(s3_server, bucket) == []
        assert not opened(bucket).exists("a")


class TestDamage:
    def test_what_is_damaged_on_the_way_there_is_refused_and_sent_again(
        self, objects: S3ObjectStore, proxy: S3Proxy
    ) -> None:
        proxy.expect("PUT", Fault.REQUEST_DAMAGED)
        objects.create("a", b"as it is")
        assert objects.read("a") == b"as it is"
        assert sum(request.startswith("PUT") for request in proxy.passed) == 2

    def test_a_part_that_is_damaged_on_the_way_there_is_refused_and_sent_again(
        self, objects: S3ObjectStore, proxy: S3Proxy
    ) -> None:
        proxy.expect("PUT", Fault.REQUEST_DAMAGED, part_of_path="partNumber=2")
        objects.create("a", IN_PARTS)
        assert objects.read("a") == IN_PARTS

    def test_what_is_always_damaged_on_the_way_there_is_never_stored(
        self, environment: pytest.MonkeyPatch, proxy: S3Proxy, bucket: str
    ) -> None:
        del environment
        proxy.expect("PUT", Fault.REQUEST_DAMAGED, times=100)
        objects = opened(bucket, patience=0.5)
        with pytest.raises(StoreUnavailable):
            objects.create("a", b"as it is")
        assert not objects.exists("a")

    def test_a_server_that_is_told_another_checksum_refuses(self, s3_server: Seaweed, bucket: str) -> None:
        """By the checksum, not by the signature: over TLS the body is not part of what is signed."""
        other = "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="  # of b"abc"
        with pytest.raises(ClientError, match="BadDigest"):
            s3_server.client().put_object(Bucket=bucket, Key="a", Body=b"abd", ChecksumSHA256=other)

    def test_the_servers_checksum_is_of_what_was_to_be_sent(
        self, objects: S3ObjectStore, s3_server: Seaweed, bucket: str
    ) -> None:
        objects.create("a", b"as it is")
        head = s3_server.client().head_object(Bucket=bucket, Key="a", ChecksumMode="ENABLED")
        assert head["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"as it is").digest()).decode()

    @pytest.mark.parametrize("data", [b"as it is", IN_PARTS], ids=["at once", "in parts"])
    def test_what_is_damaged_on_the_way_back_is_read_again(
        self, objects: S3ObjectStore, proxy: S3Proxy, data: bytes
    ) -> None:
        objects.create("a", data)
        proxy.expect("GET", Fault.ANSWER_DAMAGED)
        assert objects.read("a") == data

    @pytest.mark.parametrize("data", [b"as it is", IN_PARTS], ids=["at once", "in parts"])
    def test_what_is_stored_damaged_is_refused_though_nobody_knows_its_digest(
        self, objects: S3ObjectStore, s3_server: Seaweed, bucket: str, data: bytes
    ) -> None:
        objects.create("a", data)
        client = s3_server.client()
        client.put_object(
            Bucket=bucket,
            Key="a",
            Body=data[:-1] + b"\xff",
            Metadata=client.head_object(Bucket=bucket, Key="a")["Metadata"],
        )
        with pytest.raises(CorruptArtifact, match="changed or damaged after it was written"):
            objects.read("a")

    def test_an_object_that_another_program_wrote_is_read_against_the_callers_digest(
        self, objects: S3ObjectStore, s3_server: Seaweed, bucket: str
    ) -> None:
        s3_server.client().put_object(Bucket=bucket, Key="a", Body=b"copied")
        assert objects.read("a") == objects.read("a", digest=digest_of(b"copied")) == b"copied"
        with pytest.raises(CorruptArtifact):
            objects.read("a", digest=digest_of(b"other"))

    def test_an_answer_that_breaks_off_is_asked_for_again(self, objects: S3ObjectStore, proxy: S3Proxy) -> None:
        objects.create("a", IN_PARTS)
        proxy.expect("GET", Fault.ANSWER_CUT, times=2)
        assert objects.read("a") == IN_PARTS


class TestCosts:
    def test_who_keeps_files_imports_no_s3_client(self, tmp_path: Path) -> None:
        program = (
            "import sys; from store.object_url import open_objects; "
            "import predictor.composition, predictor.late_composition, trainer.settings; "
            f"open_objects({str(tmp_path)!r}); print(sorted({{'boto3', 'botocore'}} & sys.modules.keys()))"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"

    def test_one_store_serves_many_threads_with_few_connections(self, objects: S3ObjectStore) -> None:
        def write_and_read(number: int) -> bytes:
            objects.create(f"m/{number}", str(number).encode())
            return objects.read(f"m/{number}")

        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(write_and_read, range(100))) == [str(number).encode() for number in range(100)]

    def test_an_object_that_is_too_large_is_not_downloaded(self, objects: S3ObjectStore, proxy: S3Proxy) -> None:
        """Neither to be read nor to be compared; only its head is waited for."""
        objects.create("a", IN_PARTS)
        proxy.expect("GET", Fault.ANSWER_STALLED, times=4)
        with pytest.raises(CorruptArtifact, match=f"has {len(IN_PARTS)} bytes; at most 10 belong to it"):
            objects.read("a", most_bytes=10)
        with pytest.raises(ObjectExists):
            objects.create("a", b"small")
