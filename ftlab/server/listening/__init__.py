"""What a server listens on: addresses of this machine, and certificates for HTTPS. No gradio."""
