"""The project's benchmark: a load driver, workloads of a mail store, and other servers measured in the same run.

Run it as `python -m bench` from the root of the checkout, or `make bench`. Nothing in `src` knows of it.
"""
