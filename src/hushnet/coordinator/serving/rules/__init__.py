"""What serving decides, apart from what it does: no I/O, no tasks, time is passed in.

reading.py   what the relay may read of an attempt, and what it refuses
failover.py  what an attempt's end means for its provider and for the next
tries.py     who is left to try
progress.py  what can be known of a consumer's reading
stops.py     why a request is stopped, and its deadlines
bills.py     what is charged
outcomes.py  what an attempt says of its provider
"""
