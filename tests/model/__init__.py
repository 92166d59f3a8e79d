"""A node's life as a model, played against the real scripts.

Two rules hold. `life.py` and `book.py` are written from the documents and not from the code: they
say what each call to the store may do, and which change of state is called for. And nothing is
random but what hypothesis draws: the store's clock and everybody's own stand still until a step
moves them, so that a run is repeated exactly by its seed.

Nodes register and beat at two gateways, on sockets that overlap; operators drain, resume and
remove; schedulers hold; two sweepers look, the real ones. Every call that changes something waits
at the wire until a step lets it through, so that whoever is in the middle of something may be
paused there. A call may be lost, its answer may be, it may be executed twice, late, or once more
long afterwards. Time passes, observed or not; the store's clock steps; the store is emptied, or
loses its last writes.

After every step the store is compared with the book: records, windows, liveness, holds, alarms,
indexes, counts, roll, events and messages, and what a scheduler is told. See `docs/testing.md`.
"""
