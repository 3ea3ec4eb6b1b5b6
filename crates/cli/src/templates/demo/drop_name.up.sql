-- Takes something away, so it is held until every data migration below it is done.
ALTER TABLE customers DROP COLUMN name;
