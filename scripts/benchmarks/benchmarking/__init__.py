"""What scripts/benchmarks/benchmark.py and scripts/benchmarks/benchmark_ops.py measure with."""
