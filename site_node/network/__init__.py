"""DICOM and DICOMweb on the wire: SCP, query/retrieve, C-STORE SCU, QIDO-RS, WADO-RS. Only here is pynetdicom used."""
