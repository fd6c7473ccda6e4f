"""What `against_peers.py` runs: one file a library, the processes that run them, and their rotation."""
