"""What is believed about a provider, and why: tiers, evidence, findings, verdicts, policies.

Pure: no I/O, no clock. The coordinator's trust domain judges with it when a provider registers, and the SDK judges
again for itself, because a coordinator's trust label is not evidence (docs/sealing.md section 3).

Place on the map: a sibling of `dialects` and `identity`, above `wire` and `sealing`.
"""
