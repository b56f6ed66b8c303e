"""Commands, one module per topic; results go to standard output, as a table or as JSON lines."""
