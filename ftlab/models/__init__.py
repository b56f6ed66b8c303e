"""Networks: from a row of the table of backbones to a module with a head of its own, and its weights."""
