"""Breaks each guard in turn, in a copy of the tree: the suite must fail every time.

A guard nobody misses when it is gone is a guard nobody tests. A replacement must match its file
exactly once, so that a guard that moved is noticed; a copy in which no test at all passes is
broken rather than unguarded, and counts as an error.

`rooms/` holds the guards, one file for each room of the code; a new guard is a row in its room's
file. `mutant.py` says what a mutant is, `trying.py` breaks one and asks its tests, `book.py` keeps
what was found so that a broken-off run goes on, `__main__.py` is the command.
"""
