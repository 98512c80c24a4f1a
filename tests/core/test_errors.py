import pytest

from decant.core import errors


def test_a_variable_that_another_thread_removes_breaks_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    class Removing(dict[str, str]):
        def __getitem__(self, name: str) -> str:
            raise KeyError(name)

        def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
            return default if name == "GONE_TOKEN" else super().get(name, default)

    monkeypatch.setattr(errors.os, "environ", Removing(GONE_TOKEN="hunter22222", DB_PASSWORD="swordfish"))
    assert errors.redacted("hunter22222 swordfish") == "hunter22222 ***"
