"""The RICORD protocol as versioned data: inclusion criteria, de-identification tables, clinical dictionary, cohort."""
