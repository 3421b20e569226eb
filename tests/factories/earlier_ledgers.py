"""What takes a ledger of today back to one that keeps no figures."""

WITHOUT_FIGURES = (
    "drop trigger instances_come; drop trigger instances_leave; drop trigger instances_end; drop trigger parts_change;"
    "drop table instance_totals; drop table request_parts; drop index requests_by_state;"
    "drop index submissions_by_state;"
)
