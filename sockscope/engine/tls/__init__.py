"""TLS: certificates, contexts, sockets, and what goes wrong in words. The protocol itself is OpenSSL's."""
