-- The journal of PanaversityFS on SQLite. Its twin for PostgreSQL has the same tables and names.

CREATE TABLE store (
    id         TEXT NOT NULL PRIMARY KEY,
    created_at TEXT NOT NULL
);

-- Versions grow over the whole store and are never reused.
CREATE TABLE counters (
    name  TEXT NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO counters (name, value) VALUES ('version', 0);

CREATE TABLE books (
    book_id    TEXT NOT NULL PRIMARY KEY,
    schema     TEXT NOT NULL CHECK (schema IN ('strict', 'docusaurus')),
    created_at TEXT NOT NULL
) WITHOUT ROWID;

-- A row guards its blob against gc. deflated: the bytes of an inline blob, raw deflate; NULL: the
-- blob is an object, and chunks holds the SHA-256 of each of its 1 MiB chunks.
CREATE TABLE blobs (
    hash       TEXT NOT NULL PRIMARY KEY,
    size       INTEGER NOT NULL,
    crc32      INTEGER NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('live', 'condemned', 'missing', 'corrupt')),
    touched_at TEXT NOT NULL,
    deflated   BLOB,
    chunks     BLOB
);
CREATE INDEX blobs_not_live ON blobs (state) WHERE state <> 'live';

-- What is locked: also covers files that do not exist. Created on first touch, never deleted.
CREATE TABLE chains (
    book_id TEXT NOT NULL,
    path    TEXT NOT NULL,
    user_id TEXT NOT NULL,
    tip     TEXT,
    count   INTEGER NOT NULL,
    version INTEGER NOT NULL,
    last_at TEXT,
    PRIMARY KEY (book_id, path, user_id)
) WITHOUT ROWID;

CREATE TABLE file_journal (
    book_id         TEXT NOT NULL,
    path            TEXT NOT NULL,
    user_id         TEXT NOT NULL,
    sha256          TEXT NOT NULL,
    last_written_at TEXT NOT NULL,
    storage_backend TEXT NOT NULL,
    size            INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    folded          TEXT NOT NULL,
    PRIMARY KEY (book_id, user_id, path)
) WITHOUT ROWID;
CREATE UNIQUE INDEX file_journal_folded ON file_journal (book_id, user_id, folded);
CREATE INDEX file_journal_version ON file_journal (book_id, user_id, version);

-- Every version a file ever had; sha256 NULL: it was deleted.
CREATE TABLE versions (
    book_id   TEXT NOT NULL,
    path      TEXT NOT NULL,
    user_id   TEXT NOT NULL,
    version   INTEGER NOT NULL,
    sha256    TEXT,
    size      INTEGER NOT NULL,
    at        TEXT NOT NULL,
    agent_id  TEXT NOT NULL,
    operation TEXT NOT NULL,
    change_id TEXT NOT NULL,
    PRIMARY KEY (book_id, path, user_id, version)
) WITHOUT ROWID;

CREATE TABLE manifests (
    book_id  TEXT NOT NULL,
    hash     TEXT NOT NULL,
    body     BLOB NOT NULL,
    named_at TEXT NOT NULL,
    PRIMARY KEY (book_id, hash)
);

CREATE TABLE publications (
    book_id     TEXT NOT NULL,
    path        TEXT NOT NULL,
    user_id     TEXT NOT NULL,
    version     INTEGER NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('pending', 'published')),
    lease       TEXT,
    lease_until TEXT,
    PRIMARY KEY (book_id, path, user_id)
) WITHOUT ROWID;
CREATE INDEX publications_state ON publications (state);

CREATE TABLE audit_log (
    id                TEXT NOT NULL PRIMARY KEY,
    timestamp         TEXT NOT NULL,
    agent_id          TEXT NOT NULL CHECK (trim(agent_id) <> '' AND lower(trim(agent_id)) <> 'system'),
    operation         TEXT NOT NULL,
    book_id           TEXT NOT NULL,
    path              TEXT NOT NULL,
    user_id           TEXT NOT NULL,
    status            TEXT NOT NULL CHECK (status IN ('success', 'refused', 'failed')),
    error_code        TEXT,
    error_message     TEXT,
    execution_time_ms INTEGER NOT NULL,
    request_id        TEXT NOT NULL,
    change_id         TEXT,
    old_content_hash  TEXT,
    new_content_hash  TEXT,
    prev_hash         TEXT,
    entry_hash        TEXT NOT NULL
);
CREATE UNIQUE INDEX audit_log_entry_hash ON audit_log (entry_hash);
-- No fork: an entry is followed by at most one, and a chain has one first entry.
CREATE UNIQUE INDEX audit_log_link ON audit_log (book_id, path, user_id, coalesce(prev_hash, ''));
CREATE INDEX audit_log_chain ON audit_log (book_id, path, user_id, timestamp, id);
CREATE INDEX audit_log_time ON audit_log (timestamp, id);
CREATE INDEX audit_log_book ON audit_log (book_id, user_id, timestamp, id);

CREATE TRIGGER audit_log_no_update BEFORE UPDATE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_log_no_delete BEFORE DELETE ON audit_log
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

-- INSERT OR REPLACE deletes rows without firing delete triggers.
CREATE TRIGGER audit_log_no_replace BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)
  OR EXISTS (SELECT 1 FROM audit_log WHERE entry_hash = NEW.entry_hash)
  OR EXISTS (SELECT 1 FROM audit_log WHERE book_id = NEW.book_id AND path = NEW.path
             AND user_id = NEW.user_id AND coalesce(prev_hash, '') = coalesce(NEW.prev_hash, ''))
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only: no entry is replaced and no chain forks'); END;
