-- Callers with a key are refused afterwards; without tokens either, nobody is authenticated any more.
DROP TABLE api_keys;
