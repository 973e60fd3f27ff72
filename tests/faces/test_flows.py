"""The sum of what became of datagrams, in words."""

from sockscope.core.run.snapshot import LOST
from sockscope.faces.flows import sum_of

FLOW = {"sent": 100, "received": 90, "late": 2, "on_the_way": 8}


def test_what_a_lost_process_has_not_told_is_not_called_on_the_way() -> None:
    assert sum_of(FLOW, ["running"]).replace("\xa0", " ") == "100 = 90 received + 2 late + 8 on the way"
    untold = sum_of(FLOW, ["running", LOST]).replace("\xa0", " ")
    assert untold == "100 = 90 received + 2 late + 8 not told by a lost process"
    more = sum_of({"sent": 90, "received": 100, "on_the_way": -10}, [LOST]).replace("\xa0", " ")
    assert more == "90 = 100 received − 10 not told by a lost process"
