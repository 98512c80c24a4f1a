import pytest

from decant import UserError, experiment


@pytest.mark.parametrize("argument", ["--temp", "--queue", "--run-all"])
def test_places_that_dvc_deletes_are_refused(argument: str) -> None:
    with pytest.raises(UserError, match="deletes it with the MLflow runs in it"):
        experiment.main([argument])
