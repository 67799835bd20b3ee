"""Receive forwarded events, verify their signatures, and print them. Run by `make demo`."""

import sys
from pathlib import Path

from standardwebhooks.webhooks import Webhook

from tests.support.targets import Received, Reply, Target


def main(secret: str, port: int) -> None:
    verifier = Webhook(secret)

    def answer(request: Received) -> Reply:
        events = verifier.verify(request.body, dict(request.headers))
        print(f"webhook: {len(events)} events, signature verified: {', '.join(e['event'] for e in events)}", flush=True)
        return Reply()

    Target(answer, port).wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text().strip(), int(sys.argv[2]))
