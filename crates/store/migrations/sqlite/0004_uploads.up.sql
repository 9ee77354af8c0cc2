-- Uploads of large assets, from their permit until nothing is left of them; and the key by which
-- all servers of one store sign their links, drawn when it is first wanted.
CREATE TABLE uploads (
    id         TEXT NOT NULL PRIMARY KEY,
    book_id    TEXT NOT NULL,
    path       TEXT NOT NULL,
    agent_id   TEXT NOT NULL,
    size       INTEGER NOT NULL,
    sha256     TEXT,
    expected   TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    -- The first answer: both are set by the transaction that writes the asset, or neither.
    effect     TEXT CHECK (effect IN ('created', 'updated', 'unchanged')),
    hash       TEXT,
    -- Since then nothing of it lies where uploads arrive.
    cleared_at TEXT,
    CHECK ((effect IS NULL) = (hash IS NULL))
) WITHOUT ROWID;
CREATE INDEX uploads_expiry ON uploads (expires_at);

ALTER TABLE store ADD COLUMN signing_key TEXT;
