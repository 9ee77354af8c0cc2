-- What gc needs: whom a blob's row belongs to for a while, which versions a manifest keeps, and
-- which versions name a blob. The protocol stands in the model's `garbage`.

-- Drawn anew whenever the row comes to life: a commit names the one its object was put under.
ALTER TABLE blobs ADD COLUMN staging TEXT COLLATE "C";
-- Until then gc leaves a staged blob alone that nobody has committed to.
ALTER TABLE blobs ADD COLUMN staged_until TIMESTAMPTZ;
-- Until then writers leave a condemned blob alone.
ALTER TABLE blobs ADD COLUMN condemned_until TIMESTAMPTZ;

-- A manifest names the version, and is kept at least until then.
ALTER TABLE versions ADD COLUMN kept_until TIMESTAMPTZ;
CREATE INDEX versions_sha256 ON versions (sha256);
