"""The pages at which a curator looks at contact sheets and confirms studies, on the curator's own machine."""
