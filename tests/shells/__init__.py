"""The shells around the core, each with real files, sockets and clocks, and with whatever else is faked named."""
