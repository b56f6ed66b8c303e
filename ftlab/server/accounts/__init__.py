"""Sign-in with an account of a provider (Hugging Face on a Space), without gradio: settings, protocol, who is who."""
