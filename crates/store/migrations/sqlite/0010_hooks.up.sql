-- Webhooks, of which a store has few: the cursor in the feed of a book's base, the set after it if that was refused,
-- and the lease of the server that sends. The secret is stored as it is, because servers sign with it.
CREATE TABLE hooks (
    id              TEXT NOT NULL PRIMARY KEY,
    book_id         TEXT NOT NULL,
    url             TEXT NOT NULL,
    secret          TEXT NOT NULL,
    created_at      TEXT NOT NULL,
    cursor_at       TEXT NOT NULL,
    cursor_change   TEXT NOT NULL,
    delivered_at    TEXT,
    attempts        BIGINT NOT NULL DEFAULT 0,
    failing_since   TEXT,
    next_attempt_at TEXT,
    last_error      TEXT,
    gone_at         TEXT,
    lease           TEXT,
    lease_until     TEXT
) WITHOUT ROWID;

-- Change sets that were refused too often.
CREATE TABLE hook_dead_letters (
    hook_id   TEXT NOT NULL,
    change_at TEXT NOT NULL,
    change_id TEXT NOT NULL,
    attempts  BIGINT NOT NULL,
    error     TEXT NOT NULL,
    at        TEXT NOT NULL,
    PRIMARY KEY (hook_id, change_at, change_id)
) WITHOUT ROWID;
