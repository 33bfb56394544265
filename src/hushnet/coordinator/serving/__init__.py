"""The life of a request, from admission to settlement: one state machine, one finaliser, one file a stage.

    assembly.py     joins the parts and keeps time for them
    service.py      accepts requests, owns their tasks, ticks, shuts down
    life.py         one request: drives the stages in order; transitions.py is its table
    reserve.py      the hold for the worst case
    route.py        a slot at a provider now, or a place in the queue
    seal.py         the envelope of one attempt
    attempt.py      dispatch and relay on one link: holds back, commits, forwards, ends
    race.py         the attempts that are out at the same time: a slow one and its backup
    outlet.py       the consumer's side: bounded bytes, backpressure, what was really written
    settle.py       the finaliser: the bill, and the close of the hold
    rules/          what is decided, apart from what is done; failover.py says what follows a failed attempt

Place on the map: above the domains, which it joins; below api. Sessions, router and ledger decide; serving orders.
"""
