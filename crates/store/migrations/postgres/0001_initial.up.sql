-- The journal of PanaversityFS on PostgreSQL. Its twin for SQLite has the same tables and names.

CREATE TABLE store (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);

-- Versions grow over the whole store and are never reused.
CREATE SEQUENCE file_versions;

CREATE TABLE books (
    book_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    schema     TEXT COLLATE "C" NOT NULL CHECK (schema IN ('strict', 'docusaurus')),
    created_at TIMESTAMPTZ NOT NULL
);

-- A row guards its blob against gc. deflated: the bytes of an inline blob, raw deflate; NULL: the
-- blob is an object, and chunks holds the SHA-256 of each of its 1 MiB chunks.
CREATE TABLE blobs (
    hash       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    size       BIGINT NOT NULL,
    crc32      BIGINT NOT NULL,
    state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('live', 'condemned', 'missing', 'corrupt')),
    touched_at TIMESTAMPTZ NOT NULL,
    deflated   BYTEA,
    chunks     BYTEA
);
CREATE INDEX blobs_not_live ON blobs (state) WHERE state <> 'live';

-- What is locked: also covers files that do not exist. Created on first touch, never deleted.
CREATE TABLE chains (
    book_id TEXT COLLATE "C" NOT NULL,
    path    TEXT COLLATE "C" NOT NULL,
    user_id TEXT COLLATE "C" NOT NULL,
    tip     TEXT COLLATE "C",
    count   BIGINT NOT NULL,
    version BIGINT NOT NULL,
    last_at TIMESTAMPTZ,
    PRIMARY KEY (book_id, path, user_id)
);

CREATE TABLE file_journal (
    book_id         TEXT COLLATE "C" NOT NULL,
    path            TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL,
    sha256          TEXT COLLATE "C" NOT NULL,
    last_written_at TIMESTAMPTZ NOT NULL,
    storage_backend TEXT COLLATE "C" NOT NULL,
    size            BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    folded          TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (book_id, user_id, path)
);
CREATE UNIQUE INDEX file_journal_folded ON file_journal (book_id, user_id, folded);
CREATE INDEX file_journal_version ON file_journal (book_id, user_id, version);

-- Every version a file ever had; sha256 NULL: it was deleted.
CREATE TABLE versions (
    book_id   TEXT COLLATE "C" NOT NULL,
    path      TEXT COLLATE "C" NOT NULL,
    user_id   TEXT COLLATE "C" NOT NULL,
    version   BIGINT NOT NULL,
    sha256    TEXT COLLATE "C",
    size      BIGINT NOT NULL,
    at        TIMESTAMPTZ NOT NULL,
    agent_id  TEXT COLLATE "C" NOT NULL,
    operation TEXT COLLATE "C" NOT NULL,
    change_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (book_id, path, user_id, version)
);

CREATE TABLE manifests (
    book_id  TEXT COLLATE "C" NOT NULL,
    hash     TEXT COLLATE "C" NOT NULL,
    body     BYTEA NOT NULL,
    named_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (book_id, hash)
);

CREATE TABLE publications (
    book_id     TEXT COLLATE "C" NOT NULL,
    path        TEXT COLLATE "C" NOT NULL,
    user_id     TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL,
    state       TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'published')),
    lease       TEXT COLLATE "C",
    lease_until TIMESTAMPTZ,
    PRIMARY KEY (book_id, path, user_id)
);
CREATE INDEX publications_state ON publications (state);

CREATE TABLE audit_log (
    id                TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    timestamp         TIMESTAMPTZ NOT NULL,
    agent_id          TEXT COLLATE "C" NOT NULL CHECK (trim(agent_id) <> '' AND lower(trim(agent_id)) <> 'system'),
    operation         TEXT COLLATE "C" NOT NULL,
    book_id           TEXT COLLATE "C" NOT NULL,
    path              TEXT COLLATE "C" NOT NULL,
    user_id           TEXT COLLATE "C" NOT NULL,
    status            TEXT COLLATE "C" NOT NULL CHECK (status IN ('success', 'refused', 'failed')),
    error_code        TEXT COLLATE "C",
    error_message     TEXT COLLATE "C",
    execution_time_ms BIGINT NOT NULL,
    request_id        TEXT COLLATE "C" NOT NULL,
    change_id         TEXT COLLATE "C",
    old_content_hash  TEXT COLLATE "C",
    new_content_hash  TEXT COLLATE "C",
    prev_hash         TEXT COLLATE "C",
    entry_hash        TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX audit_log_entry_hash ON audit_log (entry_hash);
-- No fork: an entry is followed by at most one, and a chain has one first entry.
CREATE UNIQUE INDEX audit_log_link ON audit_log (book_id, path, user_id, coalesce(prev_hash, ''));
CREATE INDEX audit_log_chain ON audit_log (book_id, path, user_id, timestamp, id);
CREATE INDEX audit_log_time ON audit_log (timestamp, id);
CREATE INDEX audit_log_book ON audit_log (book_id, user_id, timestamp, id);

CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END
$$;

CREATE TRIGGER audit_log_no_change BEFORE UPDATE OR DELETE ON audit_log
FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only();

CREATE TRIGGER audit_log_no_truncate BEFORE TRUNCATE ON audit_log
FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only();
