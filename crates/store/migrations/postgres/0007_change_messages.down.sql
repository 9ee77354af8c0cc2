-- The messages stay in the audit log; a history no longer goes on where a file was moved from.
ALTER TABLE versions DROP COLUMN moved_from;
ALTER TABLE versions DROP COLUMN message;
