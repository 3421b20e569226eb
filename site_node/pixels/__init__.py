"""Text burned into pixels: detected in de-identified files, and shown to a person on a picture before it may pass.

`inspect.inspect` is the stage; `client.PixelChecker` owns the process in which pictures are decoded and the models run.
"""
