"""What holds while parts of MyCRM fail: `./run_tests.sh faults [FAULT ...]`.

Nothing here is loaded where MyCRM serves.
"""
