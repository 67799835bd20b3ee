"""A local Selligent that prints its lists once it has two profiles and an event. Run by `make demo`."""

import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.selligent_server import SelligentServer, acme


def describe(name: str, rows: Iterable[Mapping[str, Any]], fields: tuple[str, ...]) -> None:
    print(f"selligent: list {name}", flush=True)
    for row in rows:
        print("    " + "  ".join(f"{field} = {row[field]}" for field in fields), flush=True)


def main(port: int) -> None:
    server = SelligentServer(acme(), port)
    while not (len(server.rows("customers")) == 2 and server.rows("segment_events")):
        time.sleep(0.2)
    describe("customers", server.rows("customers").values(), ("CUSTOMER_ID", "MAIL", "PLAN"))
    describe("segment_events", server.rows("segment_events").values(), ("CUSTOMER_ID", "EVENT", "PRICE"))
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(int(sys.argv[1]))
