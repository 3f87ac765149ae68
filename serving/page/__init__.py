"""Parts of the web page (serving/app.py)."""
