-- Sign-ins of browsers by the hash of their cookie. Ended ones are deleted.
CREATE TABLE web_sessions (
    hash       TEXT NOT NULL PRIMARY KEY,
    agent_id   TEXT NOT NULL,
    scopes     TEXT NOT NULL,
    user_id    TEXT,
    api_key    TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL
) WITHOUT ROWID;

CREATE INDEX web_sessions_agent ON web_sessions (agent_id, created_at);
CREATE INDEX web_sessions_end ON web_sessions (expires_at);
