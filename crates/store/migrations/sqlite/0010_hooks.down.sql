-- Webhooks are gone afterwards, with their secrets: nothing is sent any more.
DROP TABLE hook_dead_letters;
DROP TABLE hooks;
