"""Where the coordinator's processor time goes while it relays: `python -m bench.relay.profile`, `make profile-relay`.

`sampling` has py-spy take stacks, `stacks` reads them, `stages` gives each to a stage and shares the measured time out,
`flames` draws them. Everything that is written lies under `.bench/profile/`.
"""
