-- For the few rows of a key a planner that knows nothing of a table expects the same of any index that begins with
-- some of its columns, and may take one that leads through the whole book. Conditions that are always true hide
-- these two from every statement that does not state them.
DROP INDEX file_journal_version;
CREATE INDEX file_journal_version ON file_journal (book_id, user_id, version) WHERE version > 0;
DROP INDEX audit_log_book;
CREATE INDEX audit_log_book ON audit_log (book_id, user_id, timestamp, id) WHERE id <> '';
-- One expression, so that neither this index is taken for a path nor the primary key for a folded name.
DROP INDEX file_journal_folded;
CREATE UNIQUE INDEX file_journal_folded ON file_journal ((book_id || '/' || user_id || '/' || folded));

-- The backlog alone, in the order in which it is claimed.
DROP INDEX publications_state;
CREATE INDEX publications_pending ON publications (lease_until NULLS FIRST, version) WHERE state = 'pending';
