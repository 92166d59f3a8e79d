"""The fault suite: real processes, a fleet that keeps its own book, and a checker that believes
nothing else.

**The book** (`book.py`) has a page for each machine: every frame it sent and when, every frame it
was told and when, every close, and the spans of time in which it was *able*: its program ran and
nothing of ours stood between it and the gateways' doors. The book also holds what the store's event
streams said, what every `select` answered (a prober asks all the time through every gateway), and
what the faults themselves note: which gateway's fault it was, when the store lost what it had been
told. Instants are milliseconds of this machine's clock, which the stores share; the eye that reads
the store says how far another clock is off.

**The verdicts** (`checker.py`), all from the book:

1. nobody is called offline who was able and heard within the time-out; a gateway's own fault may be
   blamed on the platform after its grace, and on nobody else;
2. nobody is selected who had not sent a sign of life within the time-out, or had been told that it
   is anything but ready;
3. no acknowledged registration is missing, and no machine loses its name;
4. versions rise, on every socket and from socket to socket;
5. what a machine was told last is what its record says;
6. every transition follows from its own evidence (`sweeper.rules.replay`), each begins where the
   one before ended, and none is there twice;
7. what an operator said of a machine, and that a machine left, is undone by nobody.

**Faults** (`faults.py`) are small values with `begin` and `end`, so that each runs alone and any
few of them in a sequence drawn from a printed seed (`sequence.py`). While one lasts, life goes on:
machines die, come, fall ill and get well (`world.py`).

Times of faults are given as at true speed; a `Pace` shortens them with the settings. The checker is
itself checked on toys that are wrong on purpose (`toys.py`), and on an honest one.
"""
