"""Secrets of many kinds, and whether a folder or a text holds one in any spelling."""

import base64
import json
import subprocess
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

AWKWARD = "p'w\"x\\\n/é☃ +&%"
"""Characters that every way of writing a text spells in its own way."""
END = "98hgf7dk2"
MARKS = (
    *(END.encode(), END.encode().hex().encode()),
    *(base64.b64encode(bytes(start) + END.encode())[4 * (start > 0) : 12] for start in range(3)),
)
WHOLE = (
    *("HF_TOKEN", "GH_PAT", "MYSQL_PWD", "PGPASSWORD", "SSHPASS", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *(
        "MLFLOW_TRACKING_PASSWORD",
        "REDISCLI_AUTH",
        "SITE_COOKIE",
        "LOGIN_SESSION",
        "BLOB_SAS",
        "apiKey",
        "DEPLOY_CREDENTIALS",
    ),
)
"""Variables that are a secret as a whole."""
PARTS = {
    "DATABASE_URL": "postgresql://me:%s@db/x",
    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=%s;Suffix=x",
    "ODBC": "Driver={PostgreSQL};Server=db;Pwd=%s",
    "FEED": "https://host/a.csv?x=1&sig=%s",
}
"""Variables with a secret inside, whatever they are called."""


FILES = {
    ".netrc": "machine h login me password %s\n",
    ".aws/credentials": "[default]\naws_access_key_id = a\naws_secret_access_key = %s\n",
    ".dvc/config.local": "['remote \"private\"']\n    url = https://h/x\n    password = %s\n",
}
REMOTE = ".git/config"
PERMITTED = (*FILES, REMOTE)
"""Files that hold a secret because a user wrote it there."""


def secret(name: str) -> str:
    """The secret of a variable or place: one of its own, so that a leak shows where it comes from."""
    return f"{name.lower()}-{AWKWARD}{END}" if name in WHOLE else f"{name.lower()}-85hf73hf-{END}"


def planted() -> dict[str, str]:
    """The environment variables, with their values."""
    return {name: secret(name) for name in WHOLE} | {name: value % secret(name) for name, value in PARTS.items()}


def spellings(text: str) -> Iterator[bytes]:
    """The ways in which bytes may hold a text."""
    content = text.encode()
    yield content
    for escaped in (repr(text), repr(f"{text}'\""), json.dumps(text), json.dumps(text, ensure_ascii=False)):
        yield escaped[1:-1].encode()
    yield from (urllib.parse.quote(text, safe=safe).encode() for safe in ("", "/"))
    yield from (urllib.parse.quote_plus(text).encode(), content.hex().encode(), repr(content)[2:-1].encode())
    for start in range(3):
        yield base64.b64encode(bytes(start) + content)[4:-4]


def marked(content: bytes) -> bool:
    """Whether bytes hold the end that all secrets share: a quick search before a thorough one."""
    return any(mark in content for mark in MARKS)


def holders(name: str, texts: dict[str, bytes]) -> list[str]:
    """The texts, by name, that hold the secret of a place."""
    return [
        where
        for where, content in texts.items()
        if marked(content) and any(s in content for s in spellings(secret(name)))
    ]


def plant(project: Path, home: Path) -> None:
    """Write secrets where users keep them: in `home`, in DVC's local configuration, in the address of git's remote."""
    for name, text in FILES.items():
        file = (project if name.startswith(".dvc") else home) / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text % secret(name))
    address = f"https://me:{secret(REMOTE)}@h/x.git"
    subprocess.run(["git", "remote", "add", "origin", address], cwd=project, check=True)


def contents(folder: Path, *permitted: str) -> dict[str, bytes]:
    """Every file in a folder, by path; but those that hold a secret because the user wrote it there."""
    files = {str(file.relative_to(folder)): file for file in folder.rglob("*") if file.is_file()}
    return {name: file.read_bytes() for name, file in files.items() if name not in permitted}
