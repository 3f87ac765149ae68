"""Parts of the web page (serving/app.py): the player and the charts."""
