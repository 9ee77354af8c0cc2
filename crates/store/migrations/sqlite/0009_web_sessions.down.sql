-- All browsers are signed out.
DROP TABLE web_sessions;
