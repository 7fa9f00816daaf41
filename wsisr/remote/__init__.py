"""Files on servers: a URL as a path, and its bytes by ranges. What fsspec knows of protocols and credentials counts."""
