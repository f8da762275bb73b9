"""What scripts/benchmark.py and scripts/benchmark_ops.py measure with."""
