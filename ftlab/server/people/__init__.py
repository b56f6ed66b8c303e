"""Who asks the server, and what they may do: roles, rights, the members of a classroom. No gradio."""
