"""What happens around a translation: the page of results, shards of it."""
