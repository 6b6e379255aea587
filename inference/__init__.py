"""Around a translation: the page of results, the manifest, and the shards of a test."""
