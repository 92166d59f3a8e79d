"""Peers: what others would have built or taken for the same work, run beside ours on one machine.

`plain.py` is a registry as a competent engineer writes it in a day with FastAPI and redis-py. etcd
is what many would take: a lease for each machine, kept alive. Both run from an environment of their
own (`make bench-peers`), so that Muster's has none of their packages.
"""
