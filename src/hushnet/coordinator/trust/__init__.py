"""Whether a live provider is still what it proved to be: challenges, misses, verdicts.

Nouns: subject, challenge, record, verdict (judged by `hushnet.attestation`). A domain of the coordinator: it imports no
other domain; `serving/pulse.py` sends what `ChallengeBook.due` returns, `fleet` tells it of replies.
"""
