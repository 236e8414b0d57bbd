"""The container stack: start, stop, look after. Docker and Compose do the work; nothing here runs in a container."""
