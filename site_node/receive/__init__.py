"""Stage one: files come in, from a folder, a zip archive or a DICOMDIR, and lie in the spool as studies."""
