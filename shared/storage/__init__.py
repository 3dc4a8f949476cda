"""Where the engine keeps its state: Azure tables, queues and blobs."""
