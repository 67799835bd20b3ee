"""Rates: how much a sender may send, as a bucket that fills up again."""

import math
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """What may be sent at `rate` a second; what was left over for up to `seconds` may be sent at once."""

    rate: float
    seconds: float = 10.0
    level: float = field(init=False)
    filled: float = field(init=False)

    def __post_init__(self) -> None:
        self.level, self.filled = self.rate * self.seconds, time.monotonic()

    def take(self, count: int, now: float) -> int:
        """Take from the bucket and return 0, or, if it is empty, the seconds to wait.

        Who finds anything in it takes all it wants, so that a large batch is not refused for ever.

        >>> bucket = Bucket(10, 1)
        >>> bucket.take(25, bucket.filled), bucket.take(1, bucket.filled), bucket.take(1, bucket.filled + 1.6)
        (0, 2, 0)
        """
        self.level = min(self.level + (now - self.filled) * self.rate, self.rate * self.seconds)
        self.filled = now
        if self.level <= 0:
            return max(math.ceil(-self.level / self.rate), 1)
        self.level -= count
        return 0
