-- The newest key is kept; links of older ones are refused afterwards.
ALTER TABLE store ADD COLUMN signing_key TEXT;
UPDATE store SET signing_key = (SELECT key FROM signing_keys ORDER BY created_at DESC, key LIMIT 1);
DROP TABLE signing_keys;
