"""The provider link without I/O: control frames, data records, limits, and the two session state machines.

Place on the map: above `sealing` and `foundation`, below everything else. Pure: no socket, no clock, no random.

    limits.py       every bound and interval of the link
    errors.py       the closed list of faults; `LinkLost`
    frames.py       control frames, both directions (JSON text messages)
    codec.py        bytes <-> frames and data records
    lanes.py        what waits to be sent: control before data, several records to a message
    transitions.py  the state tables; events.py: what a session reports
    coordinator_session.py, coordinator_attempts.py   the coordinator's end of a link, and the attempts on it
    reports.py      the pace of what a provider reports, and what of it waits
    provider_session.py, provider_attempts.py         the provider's end, likewise
    challenge.py    the bytes that a provider's identity signs
    reference.py    the generated parts of docs/wire.md
"""
