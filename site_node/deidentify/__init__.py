"""De-identification: an included study becomes the same study under pseudonyms, by the rules of a profile.

`site_node.deidentify.study.deidentify` is the stage; `site_node.explain` says in words what it does. Two readers,
`fast_reader` (bytes) and `pydicom_reader` (everything else), give the same elements to the same actions.
"""
