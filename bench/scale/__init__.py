"""How far it goes: many sockets on one machine, many nodes in a store, and how costs grow."""
