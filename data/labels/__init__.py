"""Label maps: their folders, files, class numbers and colours."""
