"""What waits for a person: listed, released to go on, or rejected; every decision has a reason and is kept."""
