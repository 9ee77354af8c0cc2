-- Condemned blobs have no other mark but their state afterwards; nothing names them.
DROP INDEX versions_sha256;
ALTER TABLE versions DROP COLUMN kept_until;
ALTER TABLE blobs DROP COLUMN condemned_until;
ALTER TABLE blobs DROP COLUMN staged_until;
ALTER TABLE blobs DROP COLUMN staging;
