"""Bytes that nobody meant, for whatever reads strangers' bytes.

What once went wrong, and what reaches lines that nothing else reaches, is kept in `corpus/` and
tried with every run of the tests; `make fuzz` looks for more.
"""
