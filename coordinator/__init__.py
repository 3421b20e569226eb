"""What runs centrally: agreements, enrolment, sealed submissions, cohorts, federated runs; it reads no image."""
