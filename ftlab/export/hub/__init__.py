"""The Hugging Face Hub: a repository's files as timm reads them, its metadata, and the push."""
