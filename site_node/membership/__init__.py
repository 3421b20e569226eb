"""The site's side of belonging: invitation, agreement, enrolment, renewal; all of it kept in the home's `identity/`."""
