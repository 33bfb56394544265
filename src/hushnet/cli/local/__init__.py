"""The network that `hush up` runs on this machine: its home, its processes, its accounts and its proof.

Part of the command line (`cli`); `cli/up.py` is the command.
"""
