"""What the kinds of result are called, for who has no result yet and should not pay for what reads them."""

RUN, RACE, SWEEP = KIND_NAMES = ("run", "race", "sweep")
