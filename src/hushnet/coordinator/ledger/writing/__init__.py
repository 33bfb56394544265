"""How operations reach the books: the backlog decides what goes next, the writer commits it, the lane is where.

backlog.py   what waits, and which of it goes into the next transaction; pure
writer.py    the one task that commits, and what it does when the store cannot
lane.py      this process's lease, the head of its audit chain, its ids
"""
