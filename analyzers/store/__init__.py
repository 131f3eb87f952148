"""The flow store: aggregated flows per time slice and source object, in DuckDB or as Parquet. See schema.py."""
