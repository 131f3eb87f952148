"""The same reading on a Spark cluster: kernels in the tasks, Spark merges, tasks write the store's Parquet files."""
