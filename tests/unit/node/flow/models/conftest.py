import json

import pytest

from node.flow.models.model import Model


@pytest.fixture(autouse=True, scope="package")
def every_finding_can_be_kept_and_told():
    """Whatever a test lets a model find: its evidence is what JSON can hold, its text stands in both languages."""
    found = Model.finding

    def finding(*given, **evidence):
        one = found(*given, **evidence)
        assert json.loads(json.dumps(one.evidence, allow_nan=False)) == one.evidence
        assert one.text("zh") != one.text("en")
        return one

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "finding", finding)
        yield
