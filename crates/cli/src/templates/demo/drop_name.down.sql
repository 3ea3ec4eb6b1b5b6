ALTER TABLE customers ADD COLUMN name text;
UPDATE customers SET name = first_name || ' ' || last_name;
