{after}
-- {name}
--
-- Runs once, in one transaction with its row in the ledger: all of it or nothing.
-- Directives go above the first statement, each in a comment line of its own; all of them:
-- docs/reference/directives.md. Keep `after` if this needs that schema version.
--
-- For example:
--   UPDATE posts SET published_at = created_at WHERE published_at IS NULL;
