-- Sign-ins of browsers by the hash of their cookie. Ended ones are deleted.
CREATE TABLE web_sessions (
    hash       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    agent_id   TEXT COLLATE "C" NOT NULL,
    scopes     TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C",
    api_key    TEXT COLLATE "C",
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX web_sessions_agent ON web_sessions (agent_id, created_at);
CREATE INDEX web_sessions_end ON web_sessions (expires_at);
