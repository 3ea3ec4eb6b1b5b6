-- dunlin: chunk-by {table}
-- dunlin: background
{after}
-- {name}
--
-- Runs chunk by chunk while the application runs. `:chunk` becomes the chunk's range of keys; all
-- statements of a chunk commit together with how far the migration is.
-- `dunlin data plan VERSION` shows the chunks to come; `dunlin data run VERSION` runs it.
--
-- Worth adding above, each after a `dunlin:` in a line of its own (docs/reference/directives.md):
--   done-when SELECT NOT EXISTS (SELECT 1 FROM {table} WHERE published_at IS NULL)
--   chunk-where published_at IS NULL
--   on-error quarantine
--   undo capture for 14 days
--
-- For example:
--   UPDATE {table} SET published_at = created_at WHERE published_at IS NULL AND :chunk;

-- Walks over every row and changes none: put what is to be done in its place.
SELECT count(*) FROM {table} WHERE :chunk;
