"""What runs centrally: agreements, enrolment, sealed submissions, cohorts and federated runs; it cannot read an image."""
