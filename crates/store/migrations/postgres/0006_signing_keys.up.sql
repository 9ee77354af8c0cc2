-- Keys that links are signed with, for all servers; the newest signs, and older ones are accepted for a while.
CREATE TABLE signing_keys (
    key        TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    created_at TIMESTAMPTZ NOT NULL
);
INSERT INTO signing_keys (key, created_at)
SELECT signing_key, clock_timestamp() FROM store WHERE signing_key IS NOT NULL;
ALTER TABLE store DROP COLUMN signing_key;
