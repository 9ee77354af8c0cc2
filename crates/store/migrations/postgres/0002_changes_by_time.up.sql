-- What has changed since a moment: the entries of changes alone, among many more of reads.
CREATE INDEX audit_log_changes ON audit_log (book_id, user_id, timestamp) WHERE change_id IS NOT NULL;
