"""Sources to a FlowTable: expand, sniff, decompress, aggregate, settle directions, and say what was passed over."""
