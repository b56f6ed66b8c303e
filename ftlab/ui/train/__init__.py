"""The Train tab: layout (`tab`), event handlers (`actions`), the selected run (`run_panel`) and parts of the form."""
