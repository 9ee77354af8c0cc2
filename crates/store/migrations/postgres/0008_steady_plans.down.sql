DROP INDEX publications_pending;
CREATE INDEX publications_state ON publications (state);
DROP INDEX file_journal_folded;
CREATE UNIQUE INDEX file_journal_folded ON file_journal (book_id, user_id, folded);
DROP INDEX audit_log_book;
CREATE INDEX audit_log_book ON audit_log (book_id, user_id, timestamp, id);
DROP INDEX file_journal_version;
CREATE INDEX file_journal_version ON file_journal (book_id, user_id, version);
