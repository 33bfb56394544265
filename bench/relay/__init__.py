"""The cost of relaying a stream: Hushnet beside a bare nginx and other routers, under the same paced load (`make bench-relay`).

Nouns: instructions (what a request asks the synthetic provider for), load (what the client does), system (what is
measured), round (every system once, in shuffled order). Everything it installs or writes goes under `.bench/`.
"""
