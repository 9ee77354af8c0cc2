-- Uploads of large assets, from their permit until nothing is left of them; and the key by which
-- all servers of one store sign their links, drawn when it is first wanted.
CREATE TABLE uploads (
    id         TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    book_id    TEXT COLLATE "C" NOT NULL,
    path       TEXT COLLATE "C" NOT NULL,
    agent_id   TEXT COLLATE "C" NOT NULL,
    size       BIGINT NOT NULL,
    sha256     TEXT COLLATE "C",
    expected   TEXT COLLATE "C",
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    -- The first answer: both are set by the transaction that writes the asset, or neither.
    effect     TEXT COLLATE "C" CHECK (effect IN ('created', 'updated', 'unchanged')),
    hash       TEXT COLLATE "C",
    -- Since then nothing of it lies where uploads arrive.
    cleared_at TIMESTAMPTZ,
    CHECK ((effect IS NULL) = (hash IS NULL))
);
CREATE INDEX uploads_expiry ON uploads (expires_at);

ALTER TABLE store ADD COLUMN signing_key TEXT COLLATE "C";
