"""Removes credentials from texts: those in addresses and connection strings, and values of environment variables.

A value is removed however a text spells it: raw, escaped by `repr` or JSON, percent-encoded, in base64 or hexadecimal.
"""

import base64
import html
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
MIN_LENGTH, LONG, MIN_LINE = 4, 8, 16
"""A value shorter than the first is not searched for; one shorter than the second only as a word of its own, because
parts of words are alike by chance."""
STRONG = re.compile(r"(?:.*(?:token|secret|password|passwd|passphrase|pwd)|(?:.*[^my])?pass|pat|creds?|credentials?)$")
WEAK = re.compile(
    r"(?:.*key|keys|(?:token|secret|password)s|o?auth|authorization|dsn|sas|cookies?|session|signature|webhook|"
    r".*conn(?:ection)?str(?:ing)?|jwt)$"
)
"""Words in the names of environment variables. A value under a `STRONG` one may be short, one under a `WEAK` one not:
those name settings, too."""
CONNECTION_STRING = re.compile("conn(ection)?_str", re.IGNORECASE)
NOT_SECRET = re.compile(r"(OLD)?PWD|XDG_SESSION_\w+|DESKTOP_SESSION|DBUS_SESSION_BUS_ADDRESS|SESSION_MANAGER")
SETTING = re.compile(r"\d+|true|false|none|null|auto|basic|default", re.IGNORECASE)
PARAMETER = (
    r"(?:password|passwd|passphrase|(?<![a-z])pwd|(?<![a-z])secret|secret_?key|access_?key|access_?signature|"
    r"account_?key|api_?key|private_?key|client_?secret|(?:access|auth|refresh|session)_?token)"
)
"""Names of credentials in connection strings, JSON and options."""
URI_PARAMETER = (
    r"(?:token|secret|passw|key|credential|signature|auth|(?<![a-z])(?:sig|pass|pwd|pat|sas|session|cookie)(?![a-z]))"
)
# repetitions have limits: a text may be long, and the time must grow with it, not with its square
FORMS = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # user and password; 80/ is a port and a path
        (r"://[^\s/@:'\"]{0,256}:(?!\d+(?:\W|$))(?:(?!://)[^\s@]){0,1024}@", "://"),
        (r"://[^/?#\s'\"]{0,1024}@", "://"),
        (
            rf"(?i)({PARAMETER}(?:\s?=\s?|\\?['\"]\s?:\s?))"
            r"""(?:"[^"]{1,4096}"|'[^']{1,4096}'|\{[^}]{1,4096}\}|[^\s;&'",)\]}]+)""",
            rf"\1{MASK}",
        ),
        (rf"(?i)([?&#][^?&#=\s]{{0,64}}{URI_PARAMETER}[^?&#=\s]{{0,64}}=)[^&\s'\"]+", rf"\1{MASK}"),
        (r"(?i)(\bauthorization['\"]?\s?[:=]\s?['\"]?(?:(?:bearer|basic|token)\s)?)[^\s'\",]+", rf"\1{MASK}"),
        (r"(?i)(\bcookie['\"]?\s?:\s?['\"]?)[^\n'\"]+", rf"\1{MASK}"),
        (r"-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----(?:(?!-----)[\s\S]){0,16384}(?:-----END [A-Z ]{0,32}-----)?", MASK),
        (
            r"\b(?:hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|"
            r"xox[a-z]-[\w-]{10,}|(?:AKIA|ASIA)[A-Z0-9]{16}|sk-(?:proj|ant|live|test)?-?[A-Za-z0-9]{20,}|"
            r"AIza[\w-]{30,}|eyJ[\w-]{10,2048}\.[\w-]{10,2048}\.[\w-]{0,2048})",
            MASK,
        ),
    )
]
"""Credentials that a text shows by their form, and what replaces them."""
USER_INFO = re.compile(r"://[^\s/@:]*:(?!\d+/)(\S+)@|://([^/?#\s:@]{16,})@")
PAIR = re.compile(
    rf"""(?i)(?:{PARAMETER}|[?&]{URI_PARAMETER})['"]?\s?[=:]\s?(?:"([^"]+)"|'([^']+)'|\{{([^}}]+)\}}|([^\s;&'",]+))"""
)
"""Secrets in the value of an environment variable."""
ESCAPES: tuple[Callable[[str], str], ...] = (
    lambda text: repr(f"{text}'")[1:-2],  # between double quotes
    lambda text: repr(f"{text}'\"")[1:-4],  # between single ones
    lambda text: ascii(text)[1:-1],
    lambda text: repr(_bytes(text) + b"'")[2:-2],
    lambda text: repr(_bytes(text) + b"'\"")[2:-4],
    lambda text: json.dumps(text)[1:-1],
    lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    html.escape,
    lambda text: text.replace("'", "'\"'\"'"),  # of a shell
)


def redacted(text: str) -> str:
    """`text` without credentials."""
    for pattern, replacement in FORMS:
        text = pattern.sub(replacement, text)
    spellings, words = _searched(_environment())
    for spelling in spellings:
        text = text.replace(spelling, MASK)
    return words.sub(MASK, text) if words else text


def redacted_values(value: object) -> Any:
    """`value` with every text in it redacted, before anything escapes it."""
    if isinstance(value, Mapping):
        return {redacted_values(key): redacted_values(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted_values(item) for item in value]
    return redacted(value) if isinstance(value, str) else value


def holds_credential(text: str) -> bool:
    """Whether `text` shows a credential by its form, or holds the value of a variable that is named like one.

    A short value does not count: it may be an ordinary word.
    """
    spellings, _ = _searched(_environment())
    return any(form.sub(mask, text) != text for form, mask in FORMS) or any(s in text for s in spellings)


def _environment() -> tuple[tuple[str, str], ...]:
    # another thread may remove a variable meanwhile: os.environ.items() would raise KeyError
    return tuple((name, os.environ.get(name, "")) for name in list(os.environ))


@lru_cache(maxsize=4)
def _searched(environment: tuple[tuple[str, str], ...]) -> tuple[list[str], re.Pattern[str] | None]:
    """The spellings of secrets, the longest first; short ones as a pattern of words."""
    secrets = {secret for name, value in environment for secret in _secrets(name, value)}
    spellings = {spelling for secret in secrets for spelling in _spellings(secret)}
    ordered = sorted(spellings, key=len, reverse=True)
    short = "|".join(re.escape(s) for s in ordered if len(s) < LONG)
    # not a part of a word, a path or the name of a file
    words = re.compile(rf"(?<![\w./-])(?:{short})(?![\w/-]|\.\w)") if short else None
    return [s for s in ordered if len(s) >= LONG], words


def _secrets(name: str, value: str) -> Iterator[str]:
    """What is secret in an environment variable: its value, by its name; or parts of the value, by their form."""
    shortest = _shortest_secret(name)
    # the path of a file, or of an agent's socket, is no secret
    if shortest and not (os.path.isabs(value) and os.path.exists(value)):  # noqa: PTH110, PTH117 - may be no path
        yield from (s for s in (value, value.strip()) if len(s) >= shortest and not SETTING.fullmatch(s))
        yield from (line for line in map(str.strip, value.splitlines()) if len(line) >= MIN_LINE)  # of a key file
    for match in (*USER_INFO.finditer(value), *PAIR.finditer(value)):
        yield from (part for part in match.groups() if part and len(part) >= MIN_LENGTH)


def _shortest_secret(name: str) -> int:
    """The length from which the value of a variable counts as a secret; 0: never."""
    words = [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
    if NOT_SECRET.fullmatch(name):
        return 0
    if any(map(STRONG.match, words)):
        return MIN_LENGTH
    return LONG if any(map(WEAK.match, words)) or CONNECTION_STRING.search(name) else 0


def _spellings(secret: str) -> set[str]:
    """The ways in which a text may hold a secret."""
    spellings = {secret}
    for _ in range(2):  # an escaped text may be part of another one
        spellings |= {escape(spelling) for spelling in spellings for escape in ESCAPES}
    for encoded in (quote(_bytes(secret)), quote(_bytes(secret), safe=""), quote_plus(_bytes(secret))):
        spellings |= {encoded, re.sub("%..", lambda match: match.group().lower(), encoded)}
    return spellings | ({_bytes(secret).hex(), *_base64(_bytes(secret))} if len(secret) >= LONG else set())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _base64(content: bytes) -> Iterator[str]:
    """What base64 makes of `content` inside longer bytes, by its place among them; without the ends that both share."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + content).decode()
        inner = encoded[-(-offset * 8 // 6) : (offset + len(content)) * 8 // 6]
        yield from (inner, inner.replace("+", "-").replace("/", "_"))
