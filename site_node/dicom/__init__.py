"""DICOM files as bytes, below every stage: attributes of a file as far as they can be read."""
