-- What has arrived of open uploads stays where it is, and is swept there when it is a day old.
ALTER TABLE store DROP COLUMN signing_key;
DROP TABLE uploads;
