"""Stage one: receive files from a folder, a zip archive or a DICOMDIR into the spool as studies."""
