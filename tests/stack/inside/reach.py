"""Which of some addresses (HOST:PORT) this container can open a connection to."""

import json
import socket
import sys

found = {}
for place in sys.argv[1:]:
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), 3).close()
        found[place] = "open"
    except OSError as error:
        found[place] = type(error).__name__
print(json.dumps(found))
