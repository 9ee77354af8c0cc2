DROP INDEX audit_log_changes;
