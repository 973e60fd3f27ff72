"""What goes over the wire: framing, requests and answers, sequence numbers."""
