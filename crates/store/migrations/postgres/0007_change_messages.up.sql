-- The reason for a change set, and the path from which a change moved its file.
ALTER TABLE versions ADD COLUMN message TEXT;
ALTER TABLE versions ADD COLUMN moved_from TEXT;
