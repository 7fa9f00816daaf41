"""Looking at slides and results in a browser: pyramids in register by micrometres, on a page of this machine's own.

A `View` holds the open images and what is laid over them, and answers every path of the page with bytes; a `ViewServer`
hands these out on loopback, and `export_view` writes them into a folder. The page is in `page/`, on OpenLayers.
"""
