"""What owners read of the books: their requests, what they spent and earned, and statements that add up.

Nouns: a *scope* says whose rows of which time; a *group* is a sum over some of them; a *movement* is one line of a
statement. Everything is read from the database, by id and in pages: nothing is counted in memory.
"""
