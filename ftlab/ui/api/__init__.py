"""Endpoints for programs, by Gradio's clients, HTTP and the Model Context Protocol: what the page can do, as JSON.

They are apart from the events of the page, whose inputs and outputs are components and may change at any time.
"""
