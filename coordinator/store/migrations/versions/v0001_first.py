"""The first schema."""

import sqlalchemy as sa
from alembic import op

from coordinator.store import tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "agreements",
    "audit_events",
    "certificates",
    "documents",
    "issued_site_ids",
    "members",
    "sites",
    "submissions",
    "tokens",
)


def upgrade() -> None:
    """Create every table."""
    _agreements()
    _audit_events()
    _certificates()
    _documents()
    _issued_site_ids()
    _members()
    _sites()
    _submissions()
    _tokens()


def downgrade() -> None:
    """Drop every table."""
    for name in TABLES:
        op.drop_table(name)


def _agreements() -> None:
    op.create_table(
        "agreements",
        sa.Column("id", sa.String(length=20), nullable=False),
        sa.Column("site_name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("terms", sa.Text(), nullable=True),
        sa.Column("consent", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("execution", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("expires_at", tables.Utc(timezone=True), nullable=True),
        sa.Column("changed_at", tables.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agreements")),
    )


def _audit_events() -> None:
    op.create_table(
        "audit_events",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", tables.Utc(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=300), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("object", sa.String(length=300), nullable=False),
        sa.Column("result", sa.String(length=300), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_audit_events")),
    )


def _certificates() -> None:
    op.create_table(
        "certificates",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("ends_at", tables.Utc(timezone=True), nullable=False),
        sa.Column("revoked_at", tables.Utc(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_certificates")),
    )
    op.create_index("ix_certificates_owner", "certificates", ["role", "name"], unique=False)


def _documents() -> None:
    op.create_table(
        "documents",
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("changed_at", tables.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_documents")),
    )


def _issued_site_ids() -> None:
    op.create_table(
        "issued_site_ids",
        sa.Column("site_id", sa.String(length=6), nullable=False),
        sa.PrimaryKeyConstraint("site_id", name=op.f("pk_issued_site_ids")),
    )


def _members() -> None:
    op.create_table(
        "members",
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("verify_key", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=True),
        sa.Column("enrolled_at", tables.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("role", "name", name=op.f("pk_members")),
    )


def _sites() -> None:
    op.create_table(
        "sites",
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("agreement", sa.String(length=20), nullable=False),
        sa.Column("site_id", sa.String(length=6), nullable=True),
        sa.Column("verify_key", sa.Text(), nullable=True),
        sa.Column("recorded_at", tables.Utc(timezone=True), nullable=False),
        sa.Column("enrolled_at", tables.Utc(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sites")),
        sa.UniqueConstraint("site_id", name=op.f("uq_sites_site_id")),
    )


def _submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("site_id", sa.String(length=6), nullable=False),
        sa.Column("contents_sha256", sa.String(length=64), nullable=False),
        sa.Column("agreement", sa.String(length=20), nullable=False),
        sa.Column("agreement_version", sa.Integer(), nullable=False),
        sa.Column("study", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("ciphertext_sha256", sa.String(length=64), nullable=False),
        sa.Column("ciphertext_size", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.Column("received_at", tables.Utc(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_submissions")),
        sa.UniqueConstraint("site_id", "contents_sha256", "agreement_version", name="uq_submissions_idempotency"),
    )
    op.create_index("ix_submissions_sequence", "submissions", ["site_id", "sequence"], unique=False)


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("expires_at", tables.Utc(timezone=True), nullable=False),
        sa.Column("used_at", tables.Utc(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_tokens")),
    )
