"""Raw trips: named, described, fetched or made up, read and checked."""
