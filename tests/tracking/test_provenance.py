from typing import Any

from support.paths import ROOT

from decant.tracking import provenance


def test_the_recorded_environment_holds_the_keys_of_the_committed_one(config: Any) -> None:
    committed = provenance.read(ROOT)["prepare"]
    environment = provenance.environment(config["trainer"])
    assert environment.keys() == committed.keys() - {"digest"}
    assert environment["trainer.devices"] == "1"
    assert all(isinstance(value, str) for value in environment.values())
