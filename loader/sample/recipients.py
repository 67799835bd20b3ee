"""Generate the sample's recipients: addresses, devices, and how often they read.

E-mail addresses end in `.example`, and their own IP addresses are in reserved ranges (carrier-grade NAT,
documentation), so that they belong to nobody.
"""

from dataclasses import dataclass

import numpy as np

from loader.sample.random_draws import Flags, Ints, choose, integers

FIRST_NAMES = (
    "anna", "lucas", "emma", "noah", "louise", "arthur", "marie", "jules", "elise", "victor", "sofia", "thomas",
    "julie", "maxime", "lena", "felix", "clara", "paul", "nora", "simon", "eva", "daan", "sanne", "bram",
    "lotte", "jeroen", "camille", "hugo", "chloe", "antoine", "ines", "karim", "yasmine", "oscar", "greta", "david",
    "laura", "pieter", "sarah", "martin",
)  # fmt: skip
LAST_NAMES = (
    "peeters", "janssens", "maes", "jacobs", "mertens", "willems", "claes", "goossens", "wouters", "dubois", "lambert",
    "martin", "dupont", "simon", "laurent", "leroy", "bernard", "moreau", "girard", "roux", "fontaine", "mercier",
    "schmidt", "fischer", "weber", "wagner", "becker", "hoffmann", "koch", "richter", "klein", "wolf", "smith", "jones",
    "taylor", "brown", "walker", "wright", "green", "hall", "devries", "bakker", "visser", "smit", "meijer", "rossi",
    "costa", "garcia", "lopez", "silva",
)  # fmt: skip

#: (network, user agent) of opens and clicks. A network of "" is the recipient's own.
DEVICES = (
    ("17.58", "Mozilla/5.0"),
    ("66.249", "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"),
    ("87.248", "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html"),
    ("40.94", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/120.0.0.0 Safari/537.36"),
    ("", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148"),
    ("", "Mozilla/5.0 (Linux; Android 14; SM-A546B) AppleWebKit/537.36 Chrome/126.0.0.0 Mobile Safari/537.36"),
    ("", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/125.0.0.0 Safari/537.36"),
    ("", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:127.0) Gecko/20100101 Firefox/127.0"),
    ("", "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.17328; Pro)"),
)
APPLE, GOOGLE, YAHOO, SCANNER, IPHONE, ANDROID, WINDOWS, MAC, OUTLOOK = range(9)
BROWSERS = (IPHONE, IPHONE, IPHONE, ANDROID, ANDROID, ANDROID, WINDOWS, WINDOWS, MAC)

#: (domain, device that loads the images, weight). APPLE prefetches soon after delivery.
MAILBOXES = (
    ("quickmail.example", GOOGLE, 12),
    ("quickmail.example", APPLE, 2),
    ("icebox.example", APPLE, 3),
    ("purplemail.example", YAHOO, 3),
    ("telenet-home.example", OUTLOOK, 6),
    ("lapost.example", ANDROID, 5),
    ("webpost.example", IPHONE, 5),
    ("acme-industries.example", OUTLOOK, 4),
)
DOMAINS = tuple(domain for domain, _, weight in MAILBOXES for _ in range(weight))
READERS = tuple(reader for _, reader, weight in MAILBOXES for _ in range(weight))

#: How many of 1,000 messages a recipient opens personally.
EAGERNESS = (10, 30, 60, 100, 150, 200, 260, 340, 450, 700)


@dataclass(frozen=True, slots=True)
class Recipients:
    """The recipients, by number."""

    emails: list[str]
    reader: Ints  #: device of their opens
    browser: Ints  #: device of their clicks
    eagerness: Ints
    private: Flags  #: Apple prefetches the images of every message
    scanned: Flags  #: a company's gateway follows every link


def draw_recipients(rng: np.random.Generator, count: int) -> Recipients:
    """Return `count` recipients with distinct e-mail addresses."""
    scanned = np.arange(count) % 128 == 9
    mailbox = np.where(scanned, len(DOMAINS) - 1, integers(rng, count, len(DOMAINS)))
    reader = np.asarray(READERS, np.int64)[mailbox]
    private = reader == APPLE
    browser = choose(rng, count, BROWSERS)
    eagerness = choose(rng, count, EAGERNESS) // np.where(private, 4, 1)  # Apple shows prefetched images
    emails = [f"{local_part(number)}@{DOMAINS[at]}" for number, at in enumerate(mailbox.tolist())]
    return Recipients(emails, np.where(private, browser, reader), browser, eagerness, private, scanned)


def local_part(number: int) -> str:
    """Return the local part of a recipient's e-mail address, distinct for every number.

    >>> local_part(0), local_part(1), local_part(2001)
    ('anna.peeters', 'oscar_wolf', 'oscar_wolf1')
    """
    suffix, name = divmod(number, len(FIRST_NAMES) * len(LAST_NAMES))
    last, first = divmod(name * 1273 % (len(FIRST_NAMES) * len(LAST_NAMES)), len(FIRST_NAMES))
    return f"{FIRST_NAMES[first]}{'._.'[name % 3]}{LAST_NAMES[last]}{suffix or ''}"


def identity(recipients: Recipients, number: int) -> str:
    """Return the identity of an event as JSON members: one recipient in eight has no user id, but the address."""
    if number % 8 == 5:
        return f'"anonymousId":"{recipients.emails[number]}"'
    return f'"userId":"{1_000_019 + 37 * number}"'


def origin(device: int, number: int, noise: int) -> str:
    """Return IP address and user agent as members of a context; `noise` selects one of a proxy's addresses."""
    network, agent = DEVICES[device]
    ip = f"{network}.{noise & 63}.{noise >> 6 & 255}" if network else home(number)
    return f',"ip":"{ip}","userAgent":"{agent}"'


def home(number: int) -> str:
    """Return a recipient's own IP address; one in ten is IPv6.

    >>> home(0), home(7)
    ('100.64.0.0', '2001:db8:14:e114::1')
    """
    scattered = (number * 2_654_435_761 & 0xFFFFFFFF) >> 10
    high, low = scattered >> 16, scattered & 0xFFFF
    return f"2001:db8:{high:x}:{low:x}::1" if number % 10 == 7 else f"100.{64 + high}.{low >> 8}.{low & 255}"
