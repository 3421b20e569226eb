"""The site's side of membership: invitation, agreement, enrolment, renewal; all kept in the home's `identity/`."""
