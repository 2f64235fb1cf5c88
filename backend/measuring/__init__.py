"""What the load tests, the performance tests and the benchmark share.

No part of the program: nothing here is loaded where MyCRM serves.
"""
