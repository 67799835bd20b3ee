"""What the errors of the driver become."""

import psycopg
import pytest

from loader.errors import ContentionError, DisconnectedError, LoaderError, OutageError, OverfullError, RefusedError
from loader.postgres.sqlstate import translate_errors


@pytest.mark.parametrize(
    ("kind", "message", "expected"),
    [
        (
            psycopg.errors.InternalError_,
            "failed to prepare transaction 'citus_0' on host a",
            DisconnectedError,
        ),
        (psycopg.errors.InternalError_, "failure on connection marked as essential: a:5432", DisconnectedError),
        (psycopg.errors.IoError, "failed to COPY to shard 102008 on a:5432", DisconnectedError),
        (psycopg.errors.InternalError_, "terminating connection due to unexpected postmaster exit", DisconnectedError),
        (
            psycopg.errors.InternalError_,
            "server closed the connection unexpectedly This probably means the server terminated abnormally",
            DisconnectedError,
        ),
        (psycopg.errors.InternalError_, "connection not open", DisconnectedError),
        (psycopg.errors.InternalError_, 'duplicate key value violates unique constraint "a_102"', ContentionError),
        (psycopg.errors.InternalError_, "row is too big: size 8256, maximum size 8160", OverfullError),
        (psycopg.errors.InternalError_, "cache lookup failed for relation 1", OutageError),
        (psycopg.errors.InvalidTextRepresentation, "failed to prepare transaction", RefusedError),
    ],
    ids=str,
)
def test_errors_of_the_workers_of_a_cluster_are_what_they_are_without_one(
    kind: type[psycopg.Error], message: str, expected: type[LoaderError]
) -> None:
    with pytest.raises(expected) as raised, translate_errors():
        raise kind(message)
    assert type(raised.value) is expected
