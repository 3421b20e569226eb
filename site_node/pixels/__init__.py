"""Text burned into pixels: found on de-identified files, shown to a person on a picture, never passed unread.

`inspect.inspect` is the stage; `client.PixelChecker` owns the process in which pictures are decoded and the models run.
"""
