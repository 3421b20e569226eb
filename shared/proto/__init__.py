"""The wire as protocol buffers: `ricord/v1/*.proto` and the Python made from them by `generate.py`, committed."""
