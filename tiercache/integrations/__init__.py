"""One file for each client library; each is imported only where its library is installed."""
