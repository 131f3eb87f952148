"""Objects in S3, Google Cloud Storage and Azure Blob Storage: listed by the window, read in ranges, retried."""
