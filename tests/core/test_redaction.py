import base64
import json
import re
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from support.paths import ROOT

from decant.core import redaction
from decant.core.redaction import holds_credential, redacted, redacted_values

AWKWARD = "p'w\"x\\\n/é☃ +&%tail"
"""A secret that every way of writing a text spells in its own way."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment variables, none at first."""
    variables: dict[str, str] = {}
    monkeypatch.setattr(redaction.os, "environ", variables)
    return variables


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://me:hunter22@db/x", "postgresql://db/x"),
        ("postgresql://me:h/u#n?t@er@db/x", "postgresql://db/x"),
        ("https://ghp_token@github.com/x", "https://github.com/x"),
        ("http://127.0.0.1/a.csv?x=1&token=abc&y=2", "http://127.0.0.1/a.csv?x=1&token=***&y=2"),
        ("http://h/a?X-Amz-Signature=0f3a", "http://h/a?X-Amz-Signature=***"),
        ("http://h/a?sig=abc", "http://h/a?sig=***"),
        ("AccountName=me;AccountKey=q83v/0==;Suffix=x", "AccountName=me;AccountKey=***;Suffix=x"),
        ("Driver={a};Pwd={hunter; 22};UID=me", "Driver={a};Pwd=***;UID=me"),
        ("host=db password=hunter22 user=me", "host=db password=*** user=me"),
        ('{"client_secret": "hunter22", "a": 1}', '{"client_secret": ***, "a": 1}'),
        ("Authorization: Bearer abc.def", "Authorization: Bearer ***"),
        ("of hf_jf83hfA83jfkd83jfkd", "of ***"),
        ("a -----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- b", "a *** b"),
    ],
)
def test_credentials_that_a_text_shows_by_their_form_are_removed(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert holds_credential(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://h/a?design=abc",
        "http://h:8080/a@b",
        "git@github.com:me/x.git",
        '{"a":"http://h","b":"me@x"}',
        "sqlite:////home/me/mlflow.db",
        "no secret here: the key 'lr', a token of 3 letters, the password",
        "/home/me/secret/key.json",
    ],
)
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert redacted(text) == text
    assert not holds_credential(text)


@pytest.mark.parametrize("file", ["README.md", "CONTRIBUTING.md", "params.yaml", "dvc.lock", "src/decant/evaluate.py"])
def test_what_this_project_holds_is_not_taken_for_a_credential(file: str) -> None:
    text = (ROOT / file).read_text()
    assert redacted(text) == text


@pytest.mark.parametrize(
    "name",
    [
        *(
            "HF_TOKEN",
            "GH_PAT",
            "MYSQL_PWD",
            "PGPASSWORD",
            "SSHPASS",
            "AWS_SECRET_ACCESS_KEY",
            "REDISCLI_AUTH",
            "apiKey",
        ),
        *("SENTRY_DSN", "AZURE_STORAGE_CONNECTION_STRING", "DB_CONN_STR", "BLOB_SAS", "SITE_COOKIE", "LOGIN_SESSION"),
        *("MY_CREDENTIALS", "SLACK_WEBHOOK_URL", "MLFLOW_TRACKING_PASSWORD"),
    ],
)
def test_a_variable_is_a_secret_by_its_name(name: str, environment: dict[str, str]) -> None:
    environment[name] = "tok-98hgf7dk2"
    assert redacted("it is tok-98hgf7dk2") == "it is ***"


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "TOKENIZERS_PARALLELISM", "GIT_AUTHOR_NAME", "COMPASS", "MAX_TOKENIZERS", "PWD", "XDG_SESSION_TYPE"),
        *("KEYBOARD", "MONKEYS", "DESKTOP_SESSION"),
    ],
)
def test_a_variable_of_another_name_is_none(name: str, environment: dict[str, str]) -> None:
    environment[name] = "tok-98hgf7dk2"
    assert redacted("it is tok-98hgf7dk2") == "it is tok-98hgf7dk2"


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("postgresql://me:hunter/22@db/x", "hunter/22"),
        ("https://x-token-that-is-long@host/x", "x-token-that-is-long"),
        ("DefaultEndpointsProtocol=https;AccountName=me;AccountKey=q83v/0abc==;Suffix=x", "q83v/0abc=="),
        ("host=db password='hunter 22' user=me", "hunter 22"),
        ('{"type": "service_account", "private_key": "abcdefghijk"}', "abcdefghijk"),
        ("https://h/a?sig=q83v0abc&x=1", "q83v0abc"),
    ],
)
def test_the_secret_part_of_any_variable_is_removed(value: str, secret: str, environment: dict[str, str]) -> None:
    environment["ANYTHING"] = value
    assert redacted(f"the server refused {secret!r}") == "the server refused '***'"
    assert redacted("me, host, db, https") == "me, host, db, https"


def test_a_path_that_exists_is_no_secret(tmp_path: Path, environment: dict[str, str]) -> None:
    environment |= {"SSH_AUTH_SOCK": str(tmp_path), "TOKEN_FILE": str(tmp_path / "gone")}
    assert redacted(f"{tmp_path}/x") == f"{tmp_path}/x"


def test_a_short_secret_is_removed_as_a_word_and_stays_in_words_paths_and_names_of_files(
    environment: dict[str, str],
) -> None:
    environment |= {"DB_PASSWORD": "test7", "A_TOKEN": "abc", "B_KEY": "name", "C_TOKEN": "true", "D_PWD": "1000"}
    assert redacted("user:test7, 'test7', test7.") == "user:***, '***', ***."
    text = "test77 test7.parquet data/test7 test7/a abc name true 1000"
    assert redacted(text) == text
    assert not holds_credential("test7")


def base64_inside(start: bytes, end: bytes) -> Callable[[str], str]:
    return lambda secret: base64.b64encode(start + secret.encode() + end).decode()


SPELLINGS: dict[str, Callable[[str], str]] = {
    "raw": str,
    "repr": repr,
    "repr in a list": lambda secret: repr([secret]),
    "repr of a repr": lambda secret: repr(repr(secret)),
    "repr of an error": lambda secret: repr(ValueError(secret)),
    "repr of bytes": lambda secret: repr(secret.encode()),
    "ascii": ascii,
    "JSON": json.dumps,
    "JSON with accents": lambda secret: json.dumps(secret, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "percent": urllib.parse.quote,
    "percent, all": lambda secret: urllib.parse.quote(secret, safe=""),
    "percent, lower case": lambda secret: re.sub("%..", lambda m: m.group().lower(), urllib.parse.quote(secret)),
    "form": urllib.parse.quote_plus,
    "hexadecimal": lambda secret: secret.encode().hex(),
    "base64": base64_inside(b"", b""),
    "base64 of user and password": base64_inside(b"me:", b""),
    "base64, 1 in": base64_inside(b"u", b"end"),
    "base64, 2 in": base64_inside(b"us", b"en"),
    "base64 for addresses": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}


@pytest.mark.parametrize("spelling", SPELLINGS.values(), ids=SPELLINGS)
@pytest.mark.parametrize("secret", [AWKWARD, AWKWARD.replace('"', "'"), "tok-98hgf7dk2"])
def test_a_secret_is_removed_however_it_is_spelled(
    secret: str, spelling: Callable[[str], str], environment: dict[str, str]
) -> None:
    environment["SHOP_TOKEN"] = secret
    text = spelling(secret)
    left = redacted(f"<{text}>")
    assert "***" in left
    assert len(left) < 22, left
    assert secret[-4:] not in left


def test_a_lone_surrogate_in_a_secret_breaks_no_message(environment: dict[str, str]) -> None:
    environment["SHOP_TOKEN"] = "tok\udce9-98hgf7dk2"
    assert redacted("tok\udce9-98hgf7dk2") == "***"


def test_each_line_of_a_key_is_removed(environment: dict[str, str]) -> None:
    environment["DEPLOY_KEY"] = "first-line-of-the-key\nsecond-line-of-the-key\n"
    assert redacted("at second-line-of-the-key") == "at ***"


def test_a_credential_that_contains_another_is_removed_as_a_whole(environment: dict[str, str]) -> None:
    environment |= {"A_TOKEN": "abcdefgh", "B_TOKEN": "abcdefgh-and-more"}
    assert redacted("abcdefgh-and-more") == "***"


def test_a_variable_that_another_thread_removes_breaks_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Removing(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            raise KeyError(name)

        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            return default if name == "GONE_TOKEN" else super().get(name, default)

    monkeypatch.setattr(redaction.os, "environ", Removing(GONE_TOKEN="hunter22222", DB_PASSWORD="swordfish"))
    assert redacted("hunter22222 swordfish") == "hunter22222 ***"


def test_values_are_redacted_before_a_list_escapes_them(environment: dict[str, str]) -> None:
    environment["SHOP_TOKEN"] = AWKWARD
    value = {"a": [AWKWARD, 1, {"b": f"x {AWKWARD}"}], AWKWARD: None}
    assert redacted_values(value) == {"a": ["***", 1, {"b": "x ***"}], "***": None}


@pytest.mark.parametrize("part", ["x", "://a:", "?key", "password ", "-----BEGIN PRIVATE KEY-----", "eyJ", "cookie: "])
def test_the_time_grows_with_the_text_and_not_with_its_square(part: str) -> None:
    start = time.perf_counter()
    redacted(part * (200_000 // len(part)))
    assert time.perf_counter() - start < 3  # 0.1 s on a free core; a square would take minutes
