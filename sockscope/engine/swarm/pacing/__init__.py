"""When the next request goes: what stands between an answer and the request after it."""
