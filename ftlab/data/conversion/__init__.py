"""Data sets written anew in another form: as tar shards. No torch."""
