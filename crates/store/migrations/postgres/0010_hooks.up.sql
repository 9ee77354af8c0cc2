-- Webhooks, of which a store has few: the cursor in the feed of a book's base, the set after it if that was refused,
-- and the lease of the server that sends. The secret is stored as it is, because servers sign with it.
-- Leases are extended all the time: no index holds a column of theirs, and pages have room, so that the new form of
-- a row stays beside the old one and takes its place.
CREATE TABLE hooks (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    book_id         TEXT COLLATE "C" NOT NULL,
    url             TEXT COLLATE "C" NOT NULL,
    secret          TEXT COLLATE "C" NOT NULL,
    created_at      TIMESTAMPTZ NOT NULL,
    cursor_at       TIMESTAMPTZ NOT NULL,
    cursor_change   TEXT COLLATE "C" NOT NULL,
    delivered_at    TIMESTAMPTZ,
    attempts        BIGINT NOT NULL DEFAULT 0,
    failing_since   TIMESTAMPTZ,
    next_attempt_at TIMESTAMPTZ,
    last_error      TEXT COLLATE "C",
    gone_at         TIMESTAMPTZ,
    lease           TEXT COLLATE "C",
    lease_until     TIMESTAMPTZ
) WITH (fillfactor = 50);

-- Change sets that were refused too often.
CREATE TABLE hook_dead_letters (
    hook_id   TEXT COLLATE "C" NOT NULL,
    change_at TIMESTAMPTZ NOT NULL,
    change_id TEXT COLLATE "C" NOT NULL,
    attempts  BIGINT NOT NULL,
    error     TEXT COLLATE "C" NOT NULL,
    at        TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (hook_id, change_at, change_id)
);
