"""The tables of the records: one table per record, one column per field, nested documents as JSON."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)


class Utc(TypeDecorator[datetime]):
    """A moment in UTC; SQLite stores no time zone, so it is removed on the way in and restored on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Into the database: always UTC."""
        del dialect
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Out of the database: always UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

sites = Table(
    "sites",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("agreement", String(20), nullable=False),
    Column("site_id", String(6), unique=True),
    Column("verify_key", Text),
    Column("recorded_at", Utc, nullable=False),
    Column("enrolled_at", Utc),
    Column("survey", JSON(none_as_null=True)),
)

issued_site_ids = Table("issued_site_ids", metadata, Column("site_id", String(6), primary_key=True))

agreements = Table(
    "agreements",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("site_name", String(200), nullable=False),
    Column("state", String(20), nullable=False),
    Column("version", Integer, nullable=False),
    Column("terms", Text),
    Column("consent", JSON(none_as_null=True)),
    Column("execution", JSON(none_as_null=True)),
    Column("expires_at", Utc),
    Column("changed_at", Utc, nullable=False),
    Column("amendment", JSON(none_as_null=True)),
    Column("attachment", String(64)),
    Column("curator", String(200)),
    Index("ix_agreements_curator", "curator", "site_name"),
)

agreement_versions = Table(
    "agreement_versions",
    metadata,
    Column("agreement", String(20), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("terms", Text, nullable=False),
    Column("consent", JSON, nullable=False),
    Column("execution", JSON, nullable=False),
    Column("attachment", String(64)),
)

tokens = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("role", String(20), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("used_at", Utc),
    Column("revoked_at", Utc),
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", String(40), primary_key=True),
    Column("role", String(20), nullable=False),
    Column("name", String(200), nullable=False),
    Column("ends_at", Utc, nullable=False),
    Column("revoked_at", Utc),
    Index("ix_certificates_owner", "role", "name"),
)

members = Table(
    "members",
    metadata,
    Column("role", String(20), primary_key=True),
    Column("name", String(200), primary_key=True),
    Column("verify_key", Text, nullable=False),
    Column("recipient", Text),
    Column("statement", JSON(none_as_null=True)),
    Column("enrolled_at", Utc, nullable=False),
)

rotations = Table(
    "rotations",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("verify_key", String(200), primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("signed", JSON, nullable=False),
    Column("rotated_at", Utc, nullable=False),
)

submissions = Table(
    "submissions",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("number", BigInteger, nullable=False, index=True),
    Column("curator", String(200), nullable=False),
    Column("site_id", String(6), nullable=False),
    Column("contents_sha256", String(64), nullable=False),
    Column("agreement", String(20), nullable=False),
    Column("agreement_version", Integer, nullable=False),
    Column("study", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("ciphertext_sha256", String(64), nullable=False),
    Column("ciphertext_size", BigInteger, nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("receipt", JSON, nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("state", String(20), nullable=False),
    Column("decision", JSON(none_as_null=True)),
    Column("changed", BigInteger, nullable=False),
    UniqueConstraint("site_id", "contents_sha256", "agreement_version", name="uq_submissions_idempotency"),
    Index("ix_submissions_sequence", "site_id", "sequence"),
    Index("ix_submissions_site_number", "site_id", "number"),
    Index("ix_submissions_curator_number", "curator", "number"),
    Index("ix_submissions_site_changed", "site_id", "changed"),
    Index("ix_submissions_curator_changed", "curator", "changed"),
    Index("ix_submissions_agreement_study", "agreement", "study"),
    Index("ix_submissions_tally", "site_id", "state", "ciphertext_size"),
    Index("ix_submissions_received", "received_at", "site_id", "ciphertext_size"),
)

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("submission", String(64), nullable=False),
    Column("site_id", String(6), nullable=False),
    Column("study", String(64), nullable=False),
    Column("curator", String(200), nullable=False),
    Column("by", String(20), nullable=False),
    Column("instances", JSON, nullable=False),
    Column("ciphertext", String(64), nullable=False),
    Column("withdrawn_at", Utc, nullable=False),
    Column("deletion", JSON(none_as_null=True)),
    Column("purge", JSON(none_as_null=True)),
    Column("allowed_at", Utc),
    Index("ix_withdrawals_study", "site_id", "study"),
    Index("ix_withdrawals_curator", "curator", "number"),
)

events = Table(
    "audit_events",
    metadata,
    Column("number", BigInteger, primary_key=True),
    Column("at", Utc, nullable=False),
    Column("actor", String(300), nullable=False),
    Column("action", String(100), nullable=False),
    Column("object", String(300), nullable=False),
    Column("result", String(300), nullable=False),
    Column("digest", String(64), nullable=False),
)

audit_subtrees = Table(  # the whole subtrees of several events in the Merkle tree over the log
    "audit_subtrees",
    metadata,
    Column("level", SmallInteger, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
)

refusals = Table(
    "refusals",
    metadata,
    Column("caller", String(300), primary_key=True),
    Column("method", String(100), primary_key=True),
    Column("hour", Utc, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("site_id", String(6), nullable=False, index=True),
    Column("continued_at", Utc, nullable=False, index=True),
)

nodes = Table(
    "nodes",
    metadata,
    Column("site_id", String(6), primary_key=True),
    Column("public_key", Text, nullable=False, unique=True),
    Column("registered_at", Utc, nullable=False),
)

presences = Table(
    "presences",
    metadata,
    Column("site_id", String(6), primary_key=True),
    Column("reported_at", Utc, nullable=False),
    Column("version", String(40), nullable=False),
    Column("received", BigInteger, nullable=False),
    Column("waiting", BigInteger, nullable=False),
    Column("quarantined", BigInteger, nullable=False),
    Column("excluded", BigInteger, nullable=False),
    Column("refused", BigInteger, nullable=False),
    Column("submitted", BigInteger, nullable=False),
    Column("queued", BigInteger, nullable=False),
    Column("free_bytes", BigInteger, nullable=False),
    Column("certificate_ends_at", Utc, nullable=False),
)

editions = Table(
    "editions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("protocol", String(100), nullable=False),
    Column("edition", String(40), nullable=False),
    Column("noted_at", Utc, nullable=False),
    Column("accepted_until", Utc),
)

runs = Table(
    "runs",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("state", String(20), nullable=False, index=True),
    Column("plan", JSON, nullable=False),
    Column("signed", Text, nullable=False),
    Column("actor", String(300), nullable=False, index=True),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("result", Text, nullable=False),
    Column("problem", Text, nullable=False),
    Column("progress", Text, nullable=False, server_default=""),
)

counts = Table(  # how often something changed: one row a kind, there from the start
    "counts",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", BigInteger, nullable=False),
)

pooled_counts = Table(
    "pooled_counts",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("name", String(64), nullable=False, index=True),
    Column("sites", JSON, nullable=False),
    Column("counts", JSON, nullable=False),
    Column("seed", String(64), nullable=False),
)

cohorts = Table(
    "cohorts",
    metadata,
    Column("id", String(20), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("site_count", Integer, nullable=False),
    Column("computed_at", Utc, nullable=False),
    Column("table_sha256", String(64), nullable=False),
    Column("table", Text, nullable=False),
)
