"""The pages of a class besides the app: joining, and the teacher's page. No gradio."""
