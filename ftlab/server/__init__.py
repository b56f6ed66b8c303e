"""What a server may do and answers: profile, folders, hosts, uploads, and the middleware before Gradio. No gradio."""
